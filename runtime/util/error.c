// SPDX-License-Identifier: MIT
/* Keeps error.h: formats a message into the caller's struct, never allocates. */
#include "error.h"

#include <stdarg.h>
#include <stdio.h>

int linnet_err(struct linnet_error *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return code;
	err->code = code;
	va_start(ap, fmt);
	vsnprintf(err->message, sizeof(err->message), fmt, ap);
	va_end(ap);
	return code;
}
