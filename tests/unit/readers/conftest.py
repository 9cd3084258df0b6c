import pytest

from flowstone_provider.readers.resources import LocalResources


@pytest.fixture
def read():
    """All items of a reader, given its class and options."""

    def all_items(cls, after=None, **options):
        reader = cls(cls.options(**options), LocalResources())
        return [item for page in reader.pages(after) for item in page.items]

    return all_items
