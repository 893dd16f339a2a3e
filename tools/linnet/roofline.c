// SPDX-License-Identifier: MIT
/* Keeps roofline.h. */
#include "roofline.h"
#include "json.h"
#include "term.h"
#include "tool.h"

#include <linnet/linnet.h>

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rows {
	const struct roofline_args *args;
	struct linnet_kernels_row *v;
	size_t n;
};

static double percent(double a, double b)
{
	return b > 0 ? 100 * a / b : 0;
}

static json_t *row_json(const struct linnet_kernels_row *r)
{
	json_t *o = json_new_object();

	json_put(o, "op", json_text(r->op));
	json_put(o, "type", json_text(r->type));
	json_put(o, "isa", json_text(r->isa));
	json_put(o, "n_threads", json_integer(r->n_threads));
	json_put(o, "n_rows", json_integer(r->n_rows));
	json_put(o, "n_cols", json_integer(r->n_cols));
	json_put(o, "n_tokens", json_integer(r->n_tokens));
	json_put(o, "bytes_per_s", json_number(r->bytes));
	json_put(o, "ops_per_s", json_number(r->ops));
	json_put(o, "read_bytes_per_s", json_number(r->read));
	json_put(o, "peak_ops_per_s", r->peak > 0 ? json_number(r->peak) : json_null());
	return o;
}

static void print_md(const struct linnet_kernels_row *r, bool first)
{
	char peak[32] = "", share[32] = "";

	if (first)
		out_printf("| %-9s | %-6s | %-7s | %7s | %6s | %8s | %8s | %7s | %8s | %9s | "
			   "%7s |\n"
			   "| :-------- | :----- | :------ | ------: | -----: | -------: | "
			   "-------: | ------: | -------: | --------: | ------: |\n",
			   "operation", "type", "isa", "threads", "tokens", "GB/s", "read", "of it",
			   "GOP/s", "registers", "of it");
	if (r->peak > 0) {
		snprintf(peak, sizeof(peak), "%.0f", r->peak / 1e9);
		snprintf(share, sizeof(share), "%.0f %%", percent(r->ops, r->peak));
	}
	out_printf("| %-9s | %-6s | %-7s | %7u | %6u | %8.2f | %8.2f | %5.0f %% | %8.1f | %9s | "
		   "%7s |\n",
		   r->op, r->type, r->isa, r->n_threads, r->n_tokens, r->bytes / 1e9, r->read / 1e9,
		   percent(r->bytes, r->read), r->ops / 1e9, peak, share);
}

static int on_row(void *ctx, const struct linnet_kernels_row *r)
{
	struct rows *rows = ctx;
	json_t *o;

	rows->v = realloc(rows->v, (rows->n + 1) * sizeof(*rows->v));
	if (!rows->v)
		return -ENOMEM;
	rows->v[rows->n] = *r;
	term_clear_line();
	switch (rows->args->format) {
	case FORMAT_MD:
		print_md(r, !rows->n);
		break;
	case FORMAT_CSV:
		o = row_json(r);
		json_csv(o, !rows->n);
		json_decref(o);
		break;
	default:
		o = row_json(r);
		if (rows->args->format == FORMAT_JSON)
			out_printf(rows->n ? ",\n" : "[\n");
		json_out(o, rows->args->format == FORMAT_JSON ? JSON_INDENT(2) : JSON_COMPACT);
		if (rows->args->format == FORMAT_JSONL)
			out_printf("\n");
		json_decref(o);
	}
	rows->n++;
	return out_flush() ? 0 : -EIO;
}

/* ---------------------------------------------------------------- the picture */

#define WIDTH		800.0
#define HEIGHT		500.0
#define LEFT		70.0
#define BOTTOM		50.0
#define TOP		40.0
#define RIGHT		20.0

/* Both axes are logarithmic. */
struct axes {
	double x0, x1, y0, y1;
};

static double at_x(const struct axes *a, double v)
{
	return LEFT + (WIDTH - LEFT - RIGHT) * log(v / a->x0) / log(a->x1 / a->x0);
}

static double at_y(const struct axes *a, double v)
{
	return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * log(v / a->y0) / log(a->y1 / a->y0);
}

static double intensity(const struct linnet_kernels_row *r)
{
	return r->ops / r->bytes;
}

static void grid(FILE *f, const struct axes *a)
{
	for (double v = a->x0; v <= a->x1 * 1.001; v *= 10)
		fprintf(f, "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>"
			"<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">%g</text>\n",
			at_x(a, v), at_x(a, v), TOP, HEIGHT - BOTTOM, at_x(a, v),
			HEIGHT - BOTTOM + 18, v);
	for (double v = a->y0; v <= a->y1 * 1.001; v *= 10)
		fprintf(f, "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>"
			"<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n",
			LEFT, WIDTH - RIGHT, at_y(a, v), at_y(a, v), LEFT - 8, at_y(a, v) + 4,
			v / 1e9);
	fprintf(f, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\">operations for each byte "
		"that is read</text>\n<text x=\"16\" y=\"%.1f\" text-anchor=\"middle\" "
		"transform=\"rotate(-90 16 %.1f)\">GOP/s</text>\n", WIDTH / 2, HEIGHT - 10,
		HEIGHT / 2, HEIGHT / 2);
}

/* Roof and points of one number of threads. */
static void draw(FILE *f, const struct axes *a, const struct rows *rows, unsigned n_threads,
		 const char *colour)
{
	double read = 0, peak = 0, knee = a->x1;

	for (size_t i = 0; i < rows->n; i++)
		if (rows->v[i].n_threads == n_threads) {
			read = fmax(read, rows->v[i].read);
			peak = fmax(peak, rows->v[i].peak);
		}
	if (peak > 0)
		knee = fmin(a->x1, peak / read);
	fprintf(f, "<polyline fill=\"none\" stroke=\"%s\" points=\"%.1f,%.1f %.1f,%.1f", colour,
		at_x(a, a->y0 / read), at_y(a, a->y0), at_x(a, knee), at_y(a, knee * read));
	if (peak > 0)
		fprintf(f, " %.1f,%.1f", at_x(a, a->x1), at_y(a, peak));
	fprintf(f, "\"/>\n<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\" fill=\"%s\">%u thread%s: "
		"%.1f GB/s", WIDTH - RIGHT, at_y(a, peak > 0 ? peak : knee * read) - 6, colour,
		n_threads, n_threads == 1 ? "" : "s", read / 1e9);
	if (peak > 0)
		fprintf(f, ", %.0f GOP/s", peak / 1e9);
	fprintf(f, "</text>\n");
	for (size_t i = 0; i < rows->n; i++) {
		const struct linnet_kernels_row *r = &rows->v[i];

		if (r->n_threads == n_threads)
			fprintf(f,
				"<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\" fill=\"%s\"><title>"
				"%s, %s, %u token%s, %u threads: %.1f GB/s, %.0f GOP/s"
				"</title></circle>\n",
				at_x(a, intensity(r)), at_y(a, r->ops), colour, r->op, r->type,
				r->n_tokens, r->n_tokens == 1 ? "" : "s", n_threads, r->bytes / 1e9,
				r->ops / 1e9);
	}
}

static int picture(const struct rows *rows)
{
	static const char *const colours[] = { "#1f77b4", "#d62728", "#2ca02c", "#9467bd" };
	struct axes a = { 1e30, 0, 1e30, 0 };
	FILE *f;
	int bad;

	for (size_t i = 0; i < rows->n; i++) {
		const struct linnet_kernels_row *r = &rows->v[i];

		a.x0 = fmin(a.x0, intensity(r));
		a.x1 = fmax(a.x1, intensity(r));
		a.y0 = fmin(a.y0, r->ops);
		a.y1 = fmax(a.y1, fmax(r->ops, r->peak));
	}
	a.x0 = pow(10, floor(log10(a.x0)));
	a.x1 = pow(10, ceil(log10(a.x1)));
	a.y0 = pow(10, floor(log10(a.y0)));
	a.y1 = pow(10, ceil(log10(a.y1 * 1.2)));
	errno = 0;
	f = fopen(rows->args->svg, "w");
	if (!f) {
		tool_error_errno(rows->args->svg, "cannot write the picture (--roofline)", -errno);
		return TOOL_FAILED;
	}
	fprintf(f, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" "
		"font-family=\"sans-serif\" font-size=\"12\">\n"
		"<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n"
		"<text x=\"%.1f\" y=\"22\" font-size=\"15\">Products and attention against the "
		"machine's limits (%s)</text>\n", WIDTH, HEIGHT, LEFT, rows->v[0].isa);
	grid(f, &a);
	for (size_t i = 0; i < rows->args->threads->n; i++)
		for (size_t j = 0; j < rows->n; j++)
			if (rows->args->threads->v[i] == 0 ||
			    rows->v[j].n_threads == (unsigned)rows->args->threads->v[i]) {
				draw(f, &a, rows, rows->v[j].n_threads, colours[i % 4]);
				break;
			}
	fprintf(f, "</svg>\n");
	bad = ferror(f);
	bad |= fclose(f);
	if (!bad)
		return TOOL_OK;
	tool_error_errno(rows->args->svg, "cannot write the picture (--roofline)",
			 errno ? -errno : -EIO);
	return TOOL_FAILED;
}

int roofline(const struct roofline_args *args)
{
	struct linnet_kernels_options opts = LINNET_INIT(opts);
	struct rows rows = { .args = args };
	struct linnet_error err = { 0 };
	int status = TOOL_OK, ret = 0;

	opts.type = args->type;
	for (size_t i = 0; !ret && i < args->threads->n; i++) {
		opts.n_threads = (unsigned)args->threads->v[i];
		ret = linnet_kernels_measure(&opts, on_row, &rows, &err);
	}
	if (ret) {
		if (err.message[0])
			tool_error("%s", err.message);
		status = TOOL_FAILED;
	} else if (args->format == FORMAT_JSON) {
		out_printf("\n]\n");
	}
	if (!status && args->svg)
		status = picture(&rows);
	free(rows.v);
	return status;
}
