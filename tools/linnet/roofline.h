/* SPDX-License-Identifier: MIT */
/* Kernels against the machine's limits, as a table and as a picture. */
#ifndef LINNET_TOOL_ROOFLINE_H
#define LINNET_TOOL_ROOFLINE_H

#include "options.h"

/* The output formats of linnet bench, in the order of their names. */
enum { FORMAT_MD, FORMAT_CSV, FORMAT_JSON, FORMAT_JSONL };

struct roofline_args {
	const struct opt_list *threads;
	const char *type, *svg;		/* NULL: all types; no picture */
	int format;
};

/* Returns the exit status. */
int roofline(const struct roofline_args *args);

#endif
