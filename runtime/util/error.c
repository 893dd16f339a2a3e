// SPDX-License-Identifier: MIT
/*
 * Keeps error.h: formats a message into the caller's struct, never allocates. A message
 * quotes names out of files that nobody vouches for: control characters become '?', so
 * it stays one line and cannot drive a terminal.
 */
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
	for (char *p = err->message; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	return code;
}
