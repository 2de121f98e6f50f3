"""Packs what Maven compiled into a signed APK, with Debian's tools and a dexer from Maven Central.

Run after `mvn test` in this folder; knows nothing of Gradle, whose own APK is the one to publish.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODELS = HERE.parent / "app" / "src" / "main" / "assets" / "models"
TARGET = HERE / "apk" / "target"
APK = TARGET / "edgekit-demo.apk"
ABIS = ("arm64-v8a", "armeabi-v7a", "x86_64")
MIN_SDK = "26"
# Kotlin's library is shrunk to what the app reaches; the app and TFLite, whose native code looks classes up by name,
# stay whole. Android's classes are not given to ProGuard: nothing of them is packed.
RULES = """
-dontoptimize
-dontobfuscate
-dontwarn
-dontnote
-ignorewarnings
-keepattributes *
-keep class dev.edgekit.demo.** { *; }
-keep class org.tensorflow.** { *; }
"""


def main() -> None:
    """Builds and verifies the APK, and says where it lies and what it weighs."""
    for tool in ("java", "keytool", "zipalign", "apksigner"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is missing; see the list of Debian packages in docs/android.md")
    dex = _dex(_shrunk())
    unsigned = TARGET / "unsigned.apk"
    _pack(unsigned, dex)
    aligned = TARGET / "aligned.apk"
    _run("zipalign", "-f", "-p", "4", str(unsigned), str(aligned))
    _run("apksigner", "sign", "--ks", str(_key()), "--ks-pass", "pass:throwaway", "--v1-signing-enabled", "false",
         "--out", str(APK), str(aligned))  # fmt: skip
    print(f"{APK}: {APK.stat().st_size:,} bytes")


def _shrunk() -> Path:
    """The app's classes, TFLite's, and those of Kotlin's library that they reach."""
    out = TARGET / "classes.jar"
    rules = TARGET / "rules.pro"
    stdlib = next((TARGET / "tools").glob("kotlin-stdlib-*.jar"))
    lines = [f"-injars {HERE / module / 'target' / 'classes'}(**.class)" for module in ("app", "resources", "litert")]
    lines += [f"-injars {stdlib}(!META-INF/**,**.class)", f"-outjars {out}"]
    lines.append("-libraryjars <java.home>/jmods/java.base.jmod(!**.jar;!module-info.class)")
    rules.write_text("\n".join(lines) + RULES)
    out.unlink(missing_ok=True)
    _run("java", "-Xmx1g", "-cp", str(TARGET / "tools" / "*"), "proguard.ProGuard", f"@{rules}")
    return out


def _dex(jar: Path) -> Path:
    dex = TARGET / "classes.dex"
    _run("java", "-Xmx1g", "-cp", str(TARGET / "tools" / "*"), "com.android.dx.command.Main", "--dex",
         f"--min-sdk-version={MIN_SDK}", f"--output={dex}", str(jar))  # fmt: skip
    return dex


def _pack(out: Path, dex: Path) -> None:
    """Resources and models as aapt2 packed them, the code, and the runtime."""
    if not any(MODELS.glob("*.tflite")):
        sys.exit(f"no models in {MODELS}; put them there: make android-models")
    shutil.copyfile(HERE / "resources" / "target" / "resources.apk", out)
    archives = HERE / "litert" / "target" / "archives"
    with zipfile.ZipFile(out, "a", zipfile.ZIP_DEFLATED, compresslevel=9) as apk:
        apk.write(dex, "classes.dex")
        for library in sorted(archives.glob("*/jni/*/*.so")):
            if library.parent.name in ABIS:
                apk.write(library, f"lib/{library.parent.name}/{library.name}")


def _key() -> Path:
    """A key for this one machine; it proves nothing but that the file is whole."""
    store = TARGET / "throwaway.p12"
    if not store.exists():
        _run("keytool", "-genkeypair", "-keystore", str(store), "-storetype", "PKCS12", "-storepass", "throwaway",
             "-alias", "demo", "-keyalg", "EC", "-groupname", "secp256r1", "-validity", "3650",
             "-dname", "CN=edgekit demo throw-away")  # fmt: skip
    return store


def _run(*words: str) -> None:
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(words[:6])} ... failed:\n{done.stdout}")


if __name__ == "__main__":
    main()
