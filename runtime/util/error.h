/* SPDX-License-Identifier: MIT */
/* Errors inside the library: a negative errno and a one-line message for the caller. */
#ifndef LINNET_UTIL_ERROR_H
#define LINNET_UTIL_ERROR_H

#include <linnet/linnet.h>

/*
 * Write a message into err (which may be NULL) and return code, so that
 * `return linnet_err(err, -EINVAL, ...)` is one statement.
 */
int linnet_err(struct linnet_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), cold));

#endif
