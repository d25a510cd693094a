"""Rules about the source text. Prints each breach as `file:line: what` and ends with status 1 where there is one.

    sources.py RULE ROOT [ARGUMENT...]      RULE: a function of RULES below
"""
import pathlib
import re
import subprocess
import sys

LAYERS = ["tensor", "quant", "ops", "models", "examples"]  # each may include itself and those before it
LIBRARY = LAYERS[:4]
FOLDERS = LAYERS + ["tests", "bench"]
SUFFIXES = {".h", ".cpp", ".inc"}

SEALED = re.compile(r"/(x86|arm)_\w+\.cpp$")
SEALED_HEADERS = re.compile(r"^(ops/simd/|(ops|quant)/.*/generic(_\w+)?\.h$)")
INTRINSICS = re.compile(r"<(\w*intrin|cpuid|arm_\w+)\.h>")
# cpu.cpp asks cpuid and xgetbv; threads.cpp sets how each thread treats denormals.
INTRINSICS_ALLOWED = re.compile(r"^tensor/(cpu|threads)\.cpp$|^ops/simd/|/(x86|arm)_\w+\.cpp$")
OPENMP = re.compile(r"^\s*#\s*(include\s*<omp\.h>|pragma\s+omp\b)")

ENDS_OR_PRINTS = re.compile(
    r"(?<![\w.>])(assert|abort|_?exit|quick_exit|terminate|system|[fv]?printf|puts|putchar|perror|strtok|ato[ifl]|sto(i|l|ll|ul|ull|f|d))\s*\("
    r"|std::(regex|cout|cerr|clog)\b")
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
BAD_FLAGS = re.compile(r"-ffast-math|-Ofast|-march=native|-funsafe-math-optimizations")


def sources(root, folders):
    for folder in folders:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in SUFFIXES and path.is_file():
                yield path.relative_to(root).as_posix(), path.read_text()


def build_files(root):
    yield root / "CMakeLists.txt"
    yield root / "CMakePresets.json"
    for folder in FOLDERS + ["cmake"]:
        yield from sorted((root / folder).rglob("CMakeLists.txt"))
        yield from sorted((root / folder).rglob("*.cmake"))


def code_only(text):
    """The text with comments and what stands in quotes blanked; lines keep their numbers."""
    blank = lambda m: '""' if m[0][0] in "\"'" else re.sub(r"[^\n]", " ", m[0])
    return re.sub(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'|//[^\n]*|/\*.*?\*/', blank, text, flags=re.S)


def includes(text):
    for number, line in enumerate(text.splitlines(), 1):
        if found := re.match(r'\s*#\s*include\s*(<[^>]+>|"[^"]+")', line):
            yield number, found[1]


def matches(pattern, text):
    for number, line in enumerate(text.splitlines(), 1):
        if found := pattern.search(line):
            yield number, found[0].strip()


def layers(root):
    """Includes point down: examples -> models -> ops -> quant -> tensor."""
    for name, text in sources(root, LAYERS):
        allowed = LAYERS[:LAYERS.index(name.split("/")[0]) + 1]
        for line, included in includes(text):
            top = included.strip('"').split("/")[0]
            if included[0] == '"' and top in FOLDERS and top not in allowed:
                yield f"{name}:{line}: includes {included}, a layer above"


def sealed(root):
    """Kernel files of an ISA level, and the templates they share, include nothing that could leave code of that
    level in functions of the whole program; intrinsics and OpenMP stay in their places."""
    for name, text in sources(root, LIBRARY):
        folder = name.rsplit("/", 1)[0]
        is_sealed = SEALED.search(name) or SEALED_HEADERS.search(name)
        for line, included in includes(text):
            if is_sealed and not re.fullmatch(
                    rf'<(cstdint|cstddef|immintrin.h|arm_neon.h)>|"{folder}/(kernels.h|generic(_\w+)?.h)"|"ops/simd/.*"', included):
                yield f"{name}:{line}: a sealed file includes {included}"
            if INTRINSICS.match(included) and not INTRINSICS_ALLOWED.search(name):
                yield f"{name}:{line}: includes {included} outside of the sealed files"
        if not name.startswith("tensor/"):
            for line, what in matches(OPENMP, text):
                yield f"{name}:{line}: {what}: OpenMP stays in tensor/"


def public_headers(root, *headers):
    """Public headers include each other and the C++ standard library, nothing else."""
    public = {pathlib.Path(h).resolve().relative_to(root).as_posix() for h in headers}
    for name in sorted(public):
        for line, included in includes((root / name).read_text()):
            if included.strip('"') not in public and not re.fullmatch(r"<[a-z_]+>", included):
                yield f"{name}:{line}: a public header includes {included}"


def words(root):
    """The library neither prints nor ends the process; nothing is left unfinished; no flag changes arithmetic."""
    for name, text in sources(root, LIBRARY):
        for line, word in matches(ENDS_OR_PRINTS, code_only(text)):
            yield f"{name}:{line}: {word} in library code"
    for name, text in sources(root, FOLDERS):
        for line, word in matches(UNFINISHED, text):
            yield f"{name}:{line}: {word}"
    for path in build_files(root):
        for line, flag in matches(BAD_FLAGS, path.read_text()):
            yield f"{path.relative_to(root)}:{line}: {flag}"


def sizes(root):
    """At most 600 lines a file; 800 for kernels of an ISA level and for tests."""
    for name, text in sources(root, FOLDERS):
        limit = 800 if SEALED.search(name) or name.startswith("tests/") else 600
        if (count := text.count("\n")) > limit:
            yield f"{name}:{count}: {count} lines, at most {limit} are allowed"


def format(root, clang_format):
    """Every file is as clang-format leaves it; the first place of each that is not."""
    files = [name for name, _ in sources(root, FOLDERS) if not name.endswith(".inc")]
    run = subprocess.run([clang_format, "--dry-run", *files], cwd=root, capture_output=True, text=True)
    first = {}
    for found in re.finditer(r"^([^\s:]+):\d+(?=:\d+: )", run.stderr, re.M):
        first.setdefault(found[1], f"{found[0]}: not as {pathlib.Path(clang_format).name} leaves it")
    yield from first.values()
    if run.returncode:
        yield run.stderr


RULES = {rule.__name__: rule for rule in (layers, sealed, public_headers, words, sizes, format)}


def main():
    rule, root, *arguments = sys.argv[1:]
    breaches = list(RULES[rule](pathlib.Path(root).resolve(), *arguments))
    print("\n".join(breaches))
    sys.exit(1 if breaches else 0)


if __name__ == "__main__":
    main()
