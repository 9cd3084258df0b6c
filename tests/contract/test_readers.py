"""Our readers pass the suite that we give to plugin authors."""

from __future__ import annotations

import gzip
import json
import re
from importlib.metadata import entry_points
from pathlib import Path

from flowstone_provider.contracts.item_reader import BadRecord, Page
from flowstone_provider.readers.csv import CsvReader
from flowstone_provider.readers.function import FunctionReader
from flowstone_provider.readers.json import JsonReader
from flowstone_provider.readers.jsonl import JsonlReader
from flowstone_provider.readers.manifest import ManifestReader
from flowstone_provider.readers.sequence import SequenceReader
from flowstone_provider.testing.item_reader import ItemReaderContract
from tests.support.sources import TEXTS, InMemory, OnDisk, csv_bytes, rows


class Csv(ItemReaderContract):
    reader = CsvReader

    def make_source(self, folder, count):
        items = rows(count, [*TEXTS, "two\nlines", "two\r\nlines"])
        path = self.folder(folder) / "a.csv"
        path.write_bytes(csv_bytes(items))
        return {"path": str(path)}, items


class TestCsvOnDisk(OnDisk, Csv):
    pass


class TestCsvInMemory(InMemory, Csv):
    pass


class CsvByBytes(ItemReaderContract):
    reader = CsvReader
    splittable = True

    def make_source(self, folder, count):
        items = rows(count)
        third = count // 3
        folder = self.folder(folder)
        for name, some in [("a", items[:third]), ("b", items[third : third + 1]), ("c", items[third + 1 :])]:
            (folder / f"{name}.csv").write_bytes(b"\xef\xbb\xbf" + csv_bytes(some))
        return {"path": f"{folder}/*.csv", "newlines_in_values": False}, items


class TestCsvByBytesOnDisk(OnDisk, CsvByBytes):
    pass


class TestCsvByBytesInMemory(InMemory, CsvByBytes):
    pass


class TestCsvGzip(OnDisk, ItemReaderContract):
    reader = CsvReader
    splittable = True

    def make_source(self, folder, count):
        items = rows(count)
        folder = self.folder(folder)
        (folder / "1.csv.gz").write_bytes(gzip.compress(csv_bytes(items[: count // 2])))
        (folder / "2.csv.gz").write_bytes(gzip.compress(csv_bytes(items[count // 2 :])))
        return {"path": [f"{folder}/1.csv.gz", f"{folder}/2.csv.gz"]}, items


class Jsonl(ItemReaderContract):
    reader = JsonlReader
    splittable = True

    def make_source(self, folder, count):
        items = rows(count)
        folder = self.folder(folder)
        for name, some in [("a", items[:2_000]), ("b", items[2_000:])]:
            lines = "\n\n".join(json.dumps(item) for item in some)
            (folder / f"{name}.jsonl").write_bytes(lines.encode())
        return {"path": f"{folder}/*.jsonl"}, items


class TestJsonlOnDisk(OnDisk, Jsonl):
    pass


class TestJsonlInMemory(InMemory, Jsonl):
    pass


class Json(ItemReaderContract):
    reader = JsonReader

    def make_source(self, folder, count):
        items = rows(count)
        path = self.folder(folder) / "a.json"
        path.write_bytes(json.dumps({"before": [[1]], "a/b": {"items": items}, "after": {}}).encode())
        return {"path": str(path), "items_path": "/a~1b/items"}, items


class TestJsonOnDisk(OnDisk, Json):
    pass


class TestJsonInMemory(InMemory, Json):
    pass


class TestSequence(ItemReaderContract):
    reader = SequenceReader

    def make_source(self, folder, count):
        return {"items": rows(count)}, rows(count)


def numbered_pages(count):
    def pages(checkpoint):
        for start in range(checkpoint or 0, count, 700):
            end = min(start + 700, count)
            if start % 1_400:
                yield Page(list(range(start, end)), end, source="numbers")
            else:
                yield list(range(start, end)), end
            yield [], end

    return pages


class TestFunction(ItemReaderContract):
    reader = FunctionReader

    def make_source(self, folder, count):
        return {"function": numbered_pages(count)}, list(range(count))


class TestFunctionPair(ItemReaderContract):
    reader = FunctionReader

    def make_source(self, folder, count):
        def read(start):
            end = min(start + 700, count)
            return list(range(start, end)), (end if end < count else None)

        return {"init": lambda: 0, "read": read}, list(range(count))


class Manifest(ItemReaderContract):
    reader = ManifestReader

    def make_source(self, folder, count):
        folder = self.folder(folder)
        failed = count // 2
        items = [{"n": n} for n in range(count)]
        bad = [n for n in range(failed) if n % 500 == 3]
        for n in bad:
            items[n] = BadRecord(f"line {n}", "raw")
        lines = []
        for n in range(failed):
            what = {"bad": {"message": f"line {n}", "raw": "raw"}} if n in bad else {"item": items[n]}
            error = {"type": "ValueError", "message": f"no {n}"}
            lines.append({"index": n, "status": "failed", **what, "source": f"s{n // 400}", "error": error})
        self.write(folder / "FAILED_0.jsonl", lines[:900])
        self.write(folder / "FAILED_1.jsonl", lines[900:])
        pending = [{"index": n, "item": items[n], "source": "s"} for n in range(failed, count)]
        self.write(folder / "PENDING_0.jsonl", pending)
        manifest = {
            "version": 1,
            "counts": {"total": count, "succeeded": 0, "failed": failed, "pending": count - failed},
            "files": {
                "succeeded": [],
                "failed": [{"name": f"FAILED_{n}.jsonl"} for n in (0, 1)],
                "pending": [{"name": "PENDING_0.jsonl"}],
            },
            "results": None,
        }
        (folder / "manifest.json").write_bytes(json.dumps(manifest).encode())
        return {"uri": f"{folder}/manifest.json"}, items

    def write(self, path, lines):
        path.write_bytes(b"".join(json.dumps(line).encode() + b"\n" for line in lines))


class TestManifestOnDisk(OnDisk, Manifest):
    pass


class TestManifestInMemory(InMemory, Manifest):
    pass


def test_every_registered_reader_has_a_suite():
    # The suites of optional services are in other modules of this folder.
    modules = "".join(module.read_text() for module in Path(__file__).parent.glob("test_*.py"))
    tested = set(re.findall(r"^    reader = (\w+)$", modules, re.MULTILINE))
    points = entry_points(group="flowstone.readers")
    ours = {point.name: point.value for point in points if point.value.startswith("flowstone_provider.")}
    assert {"csv", "jsonl", "json", "parquet", "sequence", "function", "manifest"} <= set(ours)
    without = [name for name, path in ours.items() if path.partition(":")[2] not in tested]
    assert not without, f"no suite in tests/contract for the readers {without}"
