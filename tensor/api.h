// TESSERA_API marks the symbols that a program may link against; everything else is hidden.
#pragma once

#ifdef TESSERA_STATIC
#define TESSERA_API
#else
#define TESSERA_API __attribute__((visibility("default")))
#endif
