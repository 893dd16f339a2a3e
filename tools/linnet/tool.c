// SPDX-License-Identifier: MIT
/* Keeps tool.h: messages on stderr, checked output on stdout, small formatting. */
#include "tool.h"
#include "term.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

bool tool_quiet;
uint64_t tool_start_ns;

static int out_errno;

/* Names and values in messages come from files: nothing of them may reach the
 * terminal as a command. */
static void print_line(const char *colour, const char *text)
{
	char line[2048];
	size_t n = 0;

	for (; *text && n + 5 < sizeof(line); text++) {
		unsigned char c = (unsigned char)*text;

		if (c < 0x20 || c == 0x7f)
			n += (size_t)snprintf(line + n, sizeof(line) - n, "\\x%02x", c);
		else
			line[n++] = (char)c;
	}
	line[n] = '\0';
	term_clear_line();
	fprintf(stderr, "%slinnet:%s %s\n", term_style(2, colour), term_style(2, TERM_RESET), line);
}

void tool_error(const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	print_line(TERM_RED, text);
}

void tool_note(const char *fmt, ...)
{
	char text[1024];
	va_list ap;

	if (tool_quiet)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	print_line(TERM_DIM, text);
}

void tool_error_errno(const char *file, const char *what, int err)
{
	tool_error("%s: %s (%s)", file, what, strerror(err < 0 ? -err : err));
}

void *tool_alloc(size_t n)
{
	return tool_realloc(NULL, n);
}

void *tool_realloc(void *p, size_t n)
{
	p = realloc(p, n ? n : 1);
	if (!p) {
		tool_error("out of memory (%zu bytes)", n);
		exit(TOOL_FAILED);
	}
	return p;
}

char *tool_strdup(const char *s)
{
	size_t n = strlen(s) + 1;

	return memcpy(tool_alloc(n), s, n);
}

bool out_write(const void *data, size_t n)
{
	if (out_errno)
		return false;
	errno = 0;
	if (n && fwrite(data, 1, n, stdout) != n)
		out_errno = errno ? errno : EIO;
	return !out_errno;
}

bool out_printf(const char *fmt, ...)
{
	va_list ap;

	if (out_errno)
		return false;
	errno = 0;
	va_start(ap, fmt);
	if (vprintf(fmt, ap) < 0)
		out_errno = errno ? errno : EIO;
	va_end(ap);
	return !out_errno;
}

bool out_text(const char *text, size_t n)
{
	if (!term_is(1))
		return out_write(text, n);
	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)text[i];

		if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
			out_write("\xef\xbf\xbd", 3);
		else
			out_write(&text[i], 1);
	}
	return !out_errno;
}

bool out_flush(void)
{
	if (out_errno)
		return false;
	errno = 0;
	if (fflush(stdout))
		out_errno = errno ? errno : EIO;
	return !out_errno;
}

int out_finish(int status)
{
	out_flush();
	/* Some file systems report a full disk at close only. */
	if (!out_errno && close(STDOUT_FILENO) && errno != EBADF)
		out_errno = errno;
	if (!out_errno)
		return status;
	if (out_errno != EPIPE)
		tool_error_errno("standard output", "cannot write", out_errno);
	return status ? status : TOOL_FAILED;
}

uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

char *format_bytes(char buf[static 32], uint64_t bytes)
{
	static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
	double v = (double)bytes;
	size_t u = 0;

	while (v >= 1023.95 && u + 1 < sizeof(units) / sizeof(units[0])) {
		v /= 1024;
		u++;
	}
	snprintf(buf, 32, u ? "%.1f %s" : "%.0f %s", v, units[u]);
	return buf;
}

char *format_count(char buf[static 32], uint64_t n)
{
	char digits[24];
	int len = snprintf(digits, sizeof(digits), "%llu", (unsigned long long)n);
	char *p = buf;

	for (int i = 0; i < len; i++) {
		if (i && (len - i) % 3 == 0)
			*p++ = ',';
		*p++ = digits[i];
	}
	*p = '\0';
	return buf;
}
