/* SPDX-License-Identifier: MIT */
/*
 * Terminals: colour where it is wanted (a terminal that is not dumb, and no
 * NO_COLOR), and one progress line on stderr that disappears when it is done.
 */
#ifndef LINNET_TOOL_TERM_H
#define LINNET_TOOL_TERM_H

#include <stdbool.h>
#include <stdint.h>

#define TERM_RESET "\033[0m"
#define TERM_BOLD "\033[1m"
#define TERM_DIM "\033[2m"
#define TERM_RED "\033[31m"
#define TERM_GREEN "\033[32m"
#define TERM_YELLOW "\033[33m"

bool term_is(int fd);
/* The escape sequence, or "" when fd is not to be coloured. */
const char *term_style(int fd, const char *sequence);

/*
 * Draw the progress line: "label [====>    ] 40% detail". Nothing when stderr is
 * not a terminal or the tool is quiet.
 */
void term_progress(const char *label, uint64_t done, uint64_t total, const char *detail);
/* Erase the progress line if one is drawn. */
void term_clear_line(void);

#endif
