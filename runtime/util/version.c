// SPDX-License-Identifier: MIT
/* The library's version as text. */
#include <linnet/linnet.h>

#define STR1(x) #x
#define STR(x) STR1(x)

const char *linnet_version(void)
{
	return STR(LINNET_VERSION_MAJOR) "." STR(LINNET_VERSION_MINOR) "."
	       STR(LINNET_VERSION_PATCH);
}
