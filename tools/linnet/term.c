// SPDX-License-Identifier: MIT
/* Keeps term.h. The progress line is drawn by one thread at a time: whoever draws
 * from a second one stops it before anything else is printed. */
#include "term.h"
#include "tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static bool line_drawn;

bool term_is(int fd)
{
	static signed char known[3] = { -1, -1, -1 };

	if (fd < 0 || fd > 2)
		return false;
	if (known[fd] < 0)
		known[fd] = isatty(fd) != 0;
	return known[fd];
}

static bool dumb(void)
{
	const char *term = getenv("TERM");

	return !term || !*term || !strcmp(term, "dumb");
}

const char *term_style(int fd, const char *sequence)
{
	const char *no = getenv("NO_COLOR");

	return term_is(fd) && !dumb() && !(no && *no) ? sequence : "";
}

static unsigned columns(void)
{
	struct winsize w;

	return !ioctl(STDERR_FILENO, TIOCGWINSZ, &w) && w.ws_col ? w.ws_col : 80;
}

void term_progress(const char *label, uint64_t done, uint64_t total, const char *detail)
{
	char bar[64], line[256];
	unsigned width, fill, cols = columns();
	double part;

	if (tool_quiet || !term_is(STDERR_FILENO) || dumb())
		return;
	part = total ? (double)done / (double)total : 0;
	if (part > 1)
		part = 1;
	width = cols > 100 ? 30 : cols > 70 ? 18 : 4;
	fill = (unsigned)(part * width + 0.5);
	memset(bar, ' ', width);
	memset(bar, '=', fill);
	if (fill < width)
		bar[fill] = '>';
	bar[width] = '\0';
	snprintf(line, sizeof(line), "%s [%s] %3.0f %%  %s", label, bar, 100 * part, detail);
	/* A line that wraps could not be erased. */
	if (cols <= sizeof(line))
		line[cols - 1] = '\0';
	fprintf(stderr, "\r%s\033[K", line);
	fflush(stderr);
	line_drawn = true;
}

void term_clear_line(void)
{
	if (!line_drawn)
		return;
	line_drawn = false;
	fputs("\r\033[K", stderr);
	fflush(stderr);
}
