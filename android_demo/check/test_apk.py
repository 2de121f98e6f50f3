"""Holds the packed APK against what docs/android.md says of it; run by `make test-android` after apk.py."""

from __future__ import annotations

import hashlib
import re
import struct
import subprocess
import unittest
import zipfile
import zlib
from pathlib import Path

from apk import ABIS, APK, HERE, MODELS

MOST_BYTES = 12_000_000
MACHINES = {"arm64-v8a": 183, "armeabi-v7a": 40, "x86_64": 62}  # ELF e_machine
# TensorFlow Lite 2.16.1, the last on Maven Central, is built for 4 KB pages; LiteRT 1.4, which Gradle takes, for 16 KB.
RUNTIME_PAGE = 4096


def said(*words: str) -> str:
    """What a tool prints; it must succeed."""
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


class Badging(unittest.TestCase):
    badging = said("aapt", "dump", "badging", str(APK)) if APK.exists() else ""
    manifest = said("aapt", "dump", "xmltree", str(APK), "AndroidManifest.xml") if APK.exists() else ""

    def test_it_is_the_app_for_these_androids(self) -> None:
        told = dict(re.findall(r"^([\w-]+):'(.*)'$", self.badging, re.MULTILINE))
        properties = dict(
            line.split("=") for line in (HERE.parent / "gradle.properties").read_text().splitlines() if "demo." in line
        )
        self.assertIn("package: name='dev.edgekit.demo'", self.badging)
        self.assertEqual(told["sdkVersion"], properties["demo.minSdk"])
        self.assertEqual(told["targetSdkVersion"], properties["demo.targetSdk"])
        self.assertEqual(told["application-label"], "edgekit")
        self.assertIn("launchable-activity: name='dev.edgekit.demo.MainActivity'", self.badging)
        self.assertNotIn("application-debuggable", self.badging)

    def test_the_camera_is_all_that_it_may_use_and_needs_none(self) -> None:
        self.assertEqual(re.findall(r"uses-permission: name='(.*)'", self.badging), ["android.permission.CAMERA"])
        self.assertNotRegex(self.badging, r"uses-feature: name='android\.hardware\.camera'")

    def test_it_runs_on_three_processors(self) -> None:
        native = re.search(r"native-code: (.*)", self.badging)
        self.assertEqual(sorted(re.findall(r"'(\S+)'", native[1] if native else "")), sorted(ABIS))

    def test_no_other_app_starts_a_benchmark_or_reads_results(self) -> None:
        parts = {
            name: text
            for text in re.split(r"(?=E: (?:activity|provider) )", self.manifest)[1:]
            for name in re.findall(r'android:name.*?="(\.[.\w]+)"', text)[:1]
        }
        self.assertEqual(sorted(parts), [".BenchmarkActivity", ".MainActivity", ".ui.ResultsProvider"])
        self.assertIn('"android.permission.DUMP"', parts[".BenchmarkActivity"])
        self.assertRegex(parts[".ui.ResultsProvider"], r"android:exported\S*=\(type 0x12\)0x0")


class Builds(unittest.TestCase):
    def test_gradle_and_maven_take_the_same_kotlin_and_enough_litert(self) -> None:
        catalog = dict(
            re.findall(r'^(\w+) = "([\d.]+)"', (HERE.parent / "gradle/libs.versions.toml").read_text(), re.M)
        )
        maven = re.search(r"<kotlin.version>(.*)</kotlin.version>", (HERE / "pom.xml").read_text())
        self.assertEqual(catalog["kotlin"], maven[1] if maven else None)
        self.assertGreaterEqual(tuple(map(int, catalog["litert"].split("."))), (1, 4))


class Content(unittest.TestCase):
    def setUp(self) -> None:
        self.apk = zipfile.ZipFile(APK)
        self.addCleanup(self.apk.close)

    def data_offset(self, member: zipfile.ZipInfo) -> int:
        with APK.open("rb") as file:
            file.seek(member.header_offset + 26)
            name, extra = struct.unpack("<HH", file.read(4))
        return member.header_offset + 30 + name + extra

    def test_it_is_signed_and_small(self) -> None:
        verified = said("apksigner", "verify", "--verbose", str(APK))
        self.assertIn("Verified using v2 scheme (APK Signature Scheme v2): true", verified)
        self.assertIn("Verified using v3 scheme (APK Signature Scheme v3): true", verified)
        self.assertLess(APK.stat().st_size, MOST_BYTES)

    def test_models_can_be_mapped_as_they_lie(self) -> None:
        models = [member for member in self.apk.infolist() if member.filename.startswith("assets/models/")]
        self.assertEqual(len(models), len(list(MODELS.glob("*.tflite"))))
        for model in models:
            self.assertEqual(model.compress_type, zipfile.ZIP_STORED, model.filename)
            self.assertEqual(self.data_offset(model) % 4, 0, model.filename)
            self.assertEqual(self.apk.read(model), (MODELS / Path(model.filename).name).read_bytes())

    def test_each_processor_has_its_runtime(self) -> None:
        for abi in ABIS:
            names = {Path(name).name for name in self.apk.namelist() if name.startswith(f"lib/{abi}/")}
            self.assertEqual(names, {"libtensorflowlite_jni.so", "libtensorflowlite_gpu_jni.so"})
            for name in names:
                member = self.apk.getinfo(f"lib/{abi}/{name}")
                library = self.apk.read(member)
                self.assertEqual(int.from_bytes(library[18:20], "little"), MACHINES[abi])
                self.assertEqual(min(segment_alignments(library)), RUNTIME_PAGE)
                if member.compress_type == zipfile.ZIP_STORED:
                    self.assertEqual(self.data_offset(member) % RUNTIME_PAGE, 0)

    def test_the_code_is_whole(self) -> None:
        dex = Dex(self.apk.read("classes.dex"))
        compiled = {
            f"L{path.relative_to(folder).with_suffix('')};"
            for module in ("app", "resources", "litert")
            for folder in [HERE / module / "target" / "classes"]
            for path in folder.rglob("*.class")
            if path.name != "module-info.class"
        }
        self.assertEqual(compiled - dex.defined, set())
        ours = ("Ldev/edgekit/", "Lkotlin/", "Lorg/tensorflow/")
        self.assertEqual({name for name in dex.referenced if name.startswith(ours)} - dex.defined, set())
        self.assertLess(dex.methods, 65_536)


def segment_alignments(library: bytes) -> list[int]:
    """p_align of an ELF file's loadable segments."""
    wide = library[4] == 2
    start, size, count = (
        struct.unpack_from("<Q", library, 32)[0] if wide else struct.unpack_from("<I", library, 28)[0],
        *struct.unpack_from("<HH", library, 54 if wide else 42),
    )
    headers = [library[start + number * size :][:size] for number in range(count)]
    loadable = [header for header in headers if header[:4] == b"\x01\0\0\0"]
    return [
        struct.unpack_from("<Q", header, 48)[0] if wide else struct.unpack_from("<I", header, 28)[0]
        for header in loadable
    ]


class Dex:
    """Which classes a dex file defines and names (source.android.com/docs/core/runtime/dex-format)."""

    def __init__(self, content: bytes) -> None:
        assert content[:4] == b"dex\n", "no dex file"
        assert struct.unpack_from("<I", content, 8)[0] == zlib.adler32(content[12:]), "its checksum is wrong"
        assert content[12:32] == hashlib.sha1(content[32:]).digest(), "its signature is wrong"
        self.content = content
        strings_at, types, type_at = struct.unpack_from("<3I", content, 60)
        self.methods = struct.unpack_from("<I", content, 88)[0]
        defined, defined_at = struct.unpack_from("<2I", content, 96)
        self.strings_at = strings_at
        names = [self.string(struct.unpack_from("<I", content, type_at + 4 * number)[0]) for number in range(types)]
        self.defined = {
            names[struct.unpack_from("<I", content, defined_at + 32 * number)[0]] for number in range(defined)
        }
        self.referenced = {name.lstrip("[") for name in names if name.lstrip("[").startswith("L")}

    def string(self, number: int) -> str:
        at = struct.unpack_from("<I", self.content, self.strings_at + 4 * number)[0]
        while self.content[at] & 0x80:  # the length, which the terminating zero makes needless
            at += 1
        at += 1
        return self.content[at : self.content.index(0, at)].decode("utf-8", "replace")


if __name__ == "__main__":
    unittest.main()
