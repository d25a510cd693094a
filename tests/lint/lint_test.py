"""Each rule finds the breach it is there for, and lets pass what only looks like one."""
import pathlib
import tempfile
import unittest

import sources
import symbols


class SourceRules(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name).resolve()
        self.write("CMakeLists.txt", "")
        self.write("CMakePresets.json", "{}")

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return str(path)

    def breaches(self, rule, *arguments):
        return [b.split(": ", 1)[0] for b in rule(self.root, *arguments)]

    def test_layers(self):
        self.write("quant/a.cpp", '#include "tensor/a.h"\n#include "quant/a.h"\n#include "ops/a.h"\n')
        self.write("tests/a.cpp", '#include "models/a.h"\n')
        self.assertEqual(self.breaches(sources.layers), ["quant/a.cpp:3"])

    def test_sealed(self):
        self.write("ops/mul/x86_avx2.cpp", '#include <cstdint>\n#include "ops/simd/x86.h"\n#include "ops/mul/generic.h"\n'
                   '#include <vector>\n#include "ops/add/kernels.h"\n')
        self.write("ops/mul/ref.cpp", "#include <immintrin.h>\n#pragma omp parallel\n")
        self.write("tensor/threads.cpp", "#include <omp.h>\n#include <xmmintrin.h>\n")
        self.assertEqual(self.breaches(sources.sealed), ["ops/mul/ref.cpp:1", "ops/mul/ref.cpp:2", "ops/mul/x86_avx2.cpp:4",
                                                         "ops/mul/x86_avx2.cpp:5"])

    def test_public_headers(self):
        a = self.write("tensor/a.h", '#include <vector>\n#include "tensor/b.h"\n#include "tensor/private.h"\n#include <omp.h>\n')
        b = self.write("tensor/b.h", "#include <nlohmann/json.hpp>\n")
        self.assertEqual(self.breaches(sources.public_headers, a, b), ["tensor/a.h:3", "tensor/a.h:4", "tensor/b.h:1"])

    def test_words(self):
        self.write("ops/a.cpp", "std::abort();\nstatic_assert(true);\n// exit(1)\nauto s = \"printf(\";\nf.exit();\n"
                   "g('\"'); std::stoi(s); h('\"');\nsnprintf(s);\nstd::cout << s;\n")
        self.write("tests/a.cpp", "printf(s);\n// TODO\n")
        self.write("cmake/isa.cmake", "\nset(FLAGS -march=native)\n")
        self.assertEqual(self.breaches(sources.words), ["ops/a.cpp:1", "ops/a.cpp:6", "ops/a.cpp:8", "tests/a.cpp:2", "cmake/isa.cmake:2"])

    def test_sizes(self):
        for name in ("ops/a.cpp", "ops/mul/x86_avx2.cpp", "tests/a.cpp"):
            self.write(name, "\n" * 700)
        self.assertEqual(self.breaches(sources.sizes), ["ops/a.cpp:700"])


class SymbolRules(unittest.TestCase):
    def test_calls_that_print_or_end(self):
        calls = [("U", "abort"), ("U", "std::cout"), ("U", "snprintf"), ("U", "std::terminate()"), ("T", "abort_all()"), ("U", "__printf_chk")]
        self.assertEqual([b.split()[-1] for b in symbols.breaches("a.cpp.o", calls)], ["abort", "std::cout", "__printf_chk"])

    def test_sealed_objects(self):
        defined = [("T", "tessera::dot_q4_avx2(int)"), ("t", "helper()"), ("T", "helper()"), ("W", "std::min()"), ("U", "memcpy"),
                   ("V", "DW.ref.__gxx_personality_v0")]
        self.assertEqual(len(list(symbols.breaches("x86_avx2.cpp.o", defined))), 2)
        self.assertEqual(list(symbols.breaches("ref.cpp.o", defined)), [])


if __name__ == "__main__":
    unittest.main()
