"""Rules about the library's object files. Prints each breach and ends with status 1 where there is one.

    symbols.py NM OBJECT...

No object refers to what prints or ends the process. An object of a sealed kernel file (x86_*.cpp, arm_*.cpp)
defines nothing but the functions of its rows, whose names end in the file's level, and nothing weak: the linker
could take the weak copy, made of instructions that the CPU may lack, for the whole program.
"""
import pathlib
import re
import subprocess
import sys

ENDS_OR_PRINTS = re.compile(
    r"(abort|_?exit|_Exit|quick_exit|__assert_fail|perror|puts|putchar|(v|f|vf)?printf|__v?f?printf_chk|stdout|stderr"
    r"|std::(cout|cerr|clog)|std::ios_base::Init::.*|std::__glibcxx_assert_fail.*)$")
SEALED = re.compile(r"(x86|arm)_(\w+)\.cpp\.o(bj)?$")


def breaches(name, symbols):
    """symbols: (type letter of nm, demangled name) of the object file `name`."""
    sealed = SEALED.search(name)
    for kind, symbol in symbols:
        if kind == "U" and ENDS_OR_PRINTS.match(symbol):
            yield f"{name}: refers to {symbol}"
        if sealed and kind in "WwVvu" and not symbol.startswith("DW.ref."):  # those point to the unwinder, and hold no code
            yield f"{name}: weak symbol {symbol}"
        elif sealed and kind in "TDBRCSG" and not symbol.split("(")[0].endswith("_" + sealed[2]):
            yield f"{name}: defines {symbol}, whose name does not end in _{sealed[2]}"


def symbols_of(nm, path):
    text = subprocess.run([nm, "-C", path], check=True, capture_output=True, text=True).stdout
    return re.findall(r"^[0-9a-f ]{16} (\w) (.*)$", text, re.M)


def main():
    nm, *objects = sys.argv[1:]
    found = [b for path in objects if path.endswith((".o", ".obj"))
             for b in breaches(pathlib.Path(path).name, symbols_of(nm, path))]
    print("\n".join(found))
    sys.exit(1 if found or not objects else 0)


if __name__ == "__main__":
    main()
