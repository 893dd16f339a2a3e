/* SPDX-License-Identifier: MIT */
/*
 * What every subcommand shares: exit statuses, messages, standard output. Text
 * goes to stdout, everything else to stderr. Only the public API of liblinnet is
 * used by the tool; `linnet device` alone, which is an engine, stands on kernels/.
 */
#ifndef LINNET_TOOL_H
#define LINNET_TOOL_H

#include <linnet/linnet.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Scripts rely on these. */
enum tool_status {
	TOOL_OK = 0,
	TOOL_FAILED = 1,	/* the work failed */
	TOOL_USAGE = 2,		/* wrong options */
};

/* argv[0] is the subcommand's name; the result is the exit status. */
int cmd_bench(int argc, char **argv);
int cmd_chat(int argc, char **argv);
int cmd_device(int argc, char **argv);
int cmd_info(int argc, char **argv);
int cmd_logits(int argc, char **argv);
int cmd_perplexity(int argc, char **argv);
int cmd_plan(int argc, char **argv);
int cmd_run(int argc, char **argv);
int cmd_tokenize(int argc, char **argv);

/* ---------------------------------------------------------------- messages */

/* Set by --quiet: no notes, no progress, no summary; errors are always shown. */
extern bool tool_quiet;

/*
 * "linnet: ..." and a newline on stderr. Control characters in the text, which
 * may come from a file, are shown as \xNN.
 */
void tool_error(const char *fmt, ...) __attribute__((format(printf, 1, 2), cold));
/* The same, unless quiet. */
void tool_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* "what: strerror(errno)" as an error; err is an errno, of either sign. */
void tool_error_errno(const char *file, const char *what, int err);

/* Memory that ends the program with a message when there is none. */
void *tool_alloc(size_t n);
void *tool_realloc(void *p, size_t n);
char *tool_strdup(const char *s);

/* ------------------------------------------------------------------ stdout */

/*
 * Buffered writing to stdout. After the first failure, which is remembered, all
 * calls fail: check the result where it lets work end early, and end every
 * command with out_finish().
 */
bool out_write(const void *data, size_t n);
bool out_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* Text that a model or a file made: on a terminal, control characters other than
 * newline and tab are replaced, elsewhere every byte is written as it is. */
bool out_text(const char *text, size_t n);
bool out_flush(void);
/* Flush; TOOL_FAILED when anything could not be written. A reader that went away
 * (EPIPE) is no news to anyone and gives no message. */
int out_finish(int status);

/* -------------------------------------------------------------------- time */

/* CLOCK_MONOTONIC */
uint64_t now_ns(void);
/* When main() began. */
extern uint64_t tool_start_ns;

/* "1.5 GiB"; returns buf. */
char *format_bytes(char buf[static 32], uint64_t bytes);
/* 1234567 as "1,234,567"; returns buf. */
char *format_count(char buf[static 32], uint64_t n);

#endif
