"""Items of a JSON web API that answers page by page: ``source("http", url="https://…")``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, PositiveInt
from tenacity import RetryCallState, retry, retry_if_exception_type, stop_after_attempt

from flowstone_provider.contracts.item_reader import Checkpoint, ItemReader, Page, ReaderOptions, limited
from flowstone_provider.errors import ReaderError, SourceAccessError, SourceNotFoundError, SourceUnavailableError


# [START options]
def _plain(url: str) -> str:
    if not url.startswith(("http://", "https://")):
        raise ValueError("must begin with http:// or https://")
    if any(sign in url for sign in "@?#"):
        raise ValueError("must have no query and no password: a token belongs in the connection of conn_id")
    return url


class HttpOptions(ReaderOptions):
    """Options of the ``http`` reader."""

    title: ClassVar[str] = "http"

    url: Annotated[str, AfterValidator(_plain)] = Field(description="Where the items are: a URL without query.")
    conn_id: str | None = Field(default=None, description="The Airflow connection whose password is the bearer token.")
    items_field: str = Field(default="items", description="The field of an answer that holds the list of items.")
    cursor_field: str = Field(
        default="next", description="The field with the cursor of the next page; null, empty or missing at the end."
    )
    cursor_param: str = Field(default="cursor", description="The query parameter that takes the cursor.")
    page_size: PositiveInt = Field(default=1_000, description="Items to ask for in one request.")
    page_size_param: str = Field(default="limit", description="The query parameter that takes `page_size`.")


# [END options]


# [START wait]
def _wait(state: RetryCallState) -> float:
    """Seconds to wait: what the server asks for, or 1, 2, 4; a minute at most."""
    error: Any = state.outcome.exception() if state.outcome else None
    return float(min(error.after if error.after is not None else 2 ** (state.attempt_number - 1), 60))


# [END wait]


# [START reader]
class HttpReader(ItemReader):
    """Reads page after page: each answer has the cursor that asks for the next one."""

    options: ClassVar[type[ReaderOptions]] = HttpOptions
    contract_version: ClassVar[str] = "1.0"

    def __init__(self, options: Any, resources: Any) -> None:
        super().__init__(options, resources)
        self._client: Any = None

    # [END reader]

    # [START pages]
    def pages(self, after: Checkpoint | None = None) -> Iterator[Page]:
        """Yield the pages, from the first or from after a checkpoint.

        Raises:
            SourceUnavailableError: The server is down, busy or unreachable, also after some attempts.
            SourceAccessError: It refuses the token, or there is none.
            SourceNotFoundError: There is nothing under the URL.
            ReaderError: It answers something else than pages of items.
        """
        after = after or {"cursor": None, "taken": 0, "ended": False}
        yield from limited(self._pages(after), self.opts.max_items, after["taken"])

    def _pages(self, after: Checkpoint) -> Iterator[Page]:
        cursor, taken, ended = after["cursor"], after["taken"], after["ended"]
        try:
            while not ended:
                answer = self._answer(cursor, self._place(taken))
                items = answer.get(self.opts.items_field) if isinstance(answer, dict) else None
                if not isinstance(items, list):
                    raise ReaderError(f"{self._place(taken)} answers without a list {self.opts.items_field!r}")
                previous, cursor = cursor, answer.get(self.opts.cursor_field)
                ended, taken = not cursor, taken + len(items)
                if cursor == previous and not ended:
                    raise ReaderError(f"{self._place(taken)} gives the same cursor twice: it would never end")
                yield Page(items, {"cursor": cursor, "taken": taken, "ended": ended}, source=self.opts.url)
        finally:
            self.close()

    # [END pages]

    # [START answer]
    @retry(retry=retry_if_exception_type(SourceUnavailableError), stop=stop_after_attempt(4), wait=_wait, reraise=True)
    def _answer(self, cursor: Any, place: str) -> Any:
        import httpx

        params = {self.opts.page_size_param: self.opts.page_size}
        if cursor:
            params[self.opts.cursor_param] = cursor
        try:
            response = self._connected().get(self.opts.url, params=params)
        except httpx.TransportError as error:
            raise SourceUnavailableError(f"{place} cannot be reached: {type(error).__name__}", after=None) from error
        status = response.status_code
        if status in (401, 403):
            raise SourceAccessError(f"{place} answers {status}: give conn_id=… a connection whose token may read it")
        if status in (404, 410):
            raise SourceNotFoundError(f"{place} answers {status}: is the URL right?")
        if status == 429 or status >= 500:
            asked = response.headers.get("Retry-After", "")  # seconds, or a date, which is not worth the code
            after = float(asked) if asked.isdecimal() else None
            raise SourceUnavailableError(f"{place} answers {status}, also after some attempts", after=after)
        if status != 200:
            raise ReaderError(f"{place} answers {status} instead of 200")
        try:
            return response.json()
        except ValueError as error:
            raise ReaderError(f"{place} answers no JSON: {error}") from error

    def _place(self, taken: int) -> str:
        return f"{self.opts.url}, after {taken:,} items,"

    # [END answer]

    # [START client]
    def _connected(self) -> Any:
        import httpx

        if self._client is None:
            headers = {}
            if self.opts.conn_id is not None:
                token = (self.resources.connection(self.opts.conn_id).password or "").strip()
                headers["Authorization"] = f"Bearer {token}"
            self._client = httpx.Client(headers=headers, timeout=30.0)
        return self._client

    def close(self) -> None:
        """Close the connections to the server; a later reading opens new ones."""
        if self._client is not None:
            self._client.close()
            self._client = None

    # [END client]
