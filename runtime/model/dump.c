// SPDX-License-Identifier: MIT
/* Streams in words: one line for each operation, for people. */
#include "graph.h"

#include "kernels/kernels.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct dump {
	int (*write)(void *ctx, const char *text, size_t n);
	void *ctx;
	int ret;
	char line[4096];
	size_t n;
};

__attribute__((format(printf, 2, 3)))
static void add(struct dump *d, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(d->line + d->n, sizeof(d->line) - d->n, fmt, ap);
	va_end(ap);
	if (n > 0)
		d->n += (size_t)n < sizeof(d->line) - d->n ? (size_t)n : sizeof(d->line) - d->n - 1;
}

static void flush(struct dump *d)
{
	if (!d->ret)
		d->ret = d->write(d->ctx, d->line, d->n);
	d->n = 0;
}

static void add_operand(struct dump *d, const struct linnet_operand *o)
{
	if (!linnet_operand_present(o)) {
		add(d, "none");
		return;
	}
	add(d, "%s[", linnet_type_info(o->type)->name);
	for (uint32_t i = 0; i < o->n_dims; i++) {
		if (i)
			add(d, ",");
		if (o->ne[i] & LINNET_DIM_PARAM)
			add(d, "p%u", o->ne[i] & ~LINNET_DIM_PARAM);
		else
			add(d, "%u", o->ne[i]);
	}
	add(d, "]@%u", o->slot);
	if (o->offset)
		add(d, "+%" PRIu64, (uint64_t)o->offset);
}

int linnet_graph_dump(const void *data, size_t bytes, const char *title,
		      int (*write)(void *ctx, const char *text, size_t n), void *ctx)
{
	struct dump d = { .write = write, .ctx = ctx };
	struct linnet_stream *s;
	int ret = linnet_stream_parse(&s, data, bytes, NULL);

	if (ret)
		return ret;
	add(&d, "stream %s: %u operations, %zu bytes;", title, s->n_ops, bytes);
	for (uint32_t i = 0; i < s->n_params; i++)
		add(&d, " p%u <= %u", i, s->param_max[i]);
	add(&d, "\n");
	flush(&d);
	for (uint32_t i = 0; i < s->n_ops; i++) {
		const struct linnet_op *op = &s->op[i];
		const char *name;
		bool is_float;

		add(&d, "  %3u %s", i, linnet_op_name(op->code));
		for (uint32_t j = 0; j < op->n_operands; j++) {
			add(&d, " %s=", linnet_op_operand_name(op->code, j));
			add_operand(&d, &op->operand[j]);
		}
		for (uint32_t j = 0; (name = linnet_op_attr_name(op->code, j, &is_float)); j++) {
			if (is_float)
				add(&d, " %s=%g", name, linnet_attr_f32(op, j));
			else
				add(&d, " %s=%u", name, op->attr[j]);
		}
		add(&d, "\n");
		flush(&d);
	}
	for (uint32_t i = 0; i < s->n_slots; i++) {
		if (!s->slot[i].extent)
			continue;
		add(&d, "  slot %u: %" PRIu64 " bytes%s\n", i, s->slot[i].extent,
		    s->slot[i].written ? ", written" : "");
		flush(&d);
	}
	linnet_stream_free(s);
	return d.ret;
}
