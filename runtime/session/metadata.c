// SPDX-License-Identifier: MIT
/* Metadata entries as text. */
#include "runtime/model/model.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define MAX_ELEMENTS 8
#define MAX_STRING 512

struct text {
	char *p;
	size_t n, cap;
};

__attribute__((format(printf, 2, 3)))
static void add(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (t->n + 1 >= t->cap)
		return;
	va_start(ap, fmt);
	n = vsnprintf(t->p + t->n, t->cap - t->n, fmt, ap);
	va_end(ap);
	if (n > 0)
		t->n = t->n + (size_t)n < t->cap ? t->n + (size_t)n : t->cap - 1;
}

static void add_str(struct text *t, struct linnet_str s, size_t most)
{
	size_t n = s.n < most ? s.n : most;

	/* not in the middle of a character */
	while (n < s.n && n && (s.p[n] & 0xc0) == 0x80)
		n--;
	add(t, "%.*s%s", (int)n, s.p, n < s.n ? "..." : "");
}

static void add_element(struct text *t, const struct linnet_gguf_array *a, size_t i)
{
	switch (a->type) {
	case LINNET_GGUF_U8:
	case LINNET_GGUF_BOOL:
		add(t, "%u", ((const uint8_t *)a->data)[i]);
		break;
	case LINNET_GGUF_I8:
		add(t, "%d", ((const int8_t *)a->data)[i]);
		break;
	case LINNET_GGUF_U16:
		add(t, "%u", ((const uint16_t *)a->data)[i]);
		break;
	case LINNET_GGUF_I16:
		add(t, "%d", ((const int16_t *)a->data)[i]);
		break;
	case LINNET_GGUF_U32:
		add(t, "%" PRIu32, ((const uint32_t *)a->data)[i]);
		break;
	case LINNET_GGUF_I32:
		add(t, "%" PRId32, ((const int32_t *)a->data)[i]);
		break;
	case LINNET_GGUF_U64:
		add(t, "%" PRIu64, ((const uint64_t *)a->data)[i]);
		break;
	case LINNET_GGUF_I64:
		add(t, "%" PRId64, ((const int64_t *)a->data)[i]);
		break;
	case LINNET_GGUF_F32:
		add(t, "%g", ((const float *)a->data)[i]);
		break;
	case LINNET_GGUF_F64:
		add(t, "%g", ((const double *)a->data)[i]);
		break;
	case LINNET_GGUF_STRING:
		add_str(t, ((const struct linnet_str *)a->data)[i], 32);
		break;
	default:
		break;
	}
}

int linnet_model_metadata(const struct linnet_model *m, size_t i, const char **key, char *type,
			  size_t type_cap, char *value, size_t cap)
{
	const struct linnet_gguf_kv *kv = linnet_gguf_kv(m->gguf, i);
	struct text t = { value, 0, cap };

	if (!kv)
		return -ENOENT;
	*key = kv->key.p;
	if (kv->type == LINNET_GGUF_ARRAY)
		snprintf(type, type_cap, "arr[%s,%zu]", linnet_gguf_type_name(kv->arr.type),
			 kv->arr.n);
	else
		snprintf(type, type_cap, "%s", linnet_gguf_type_name(kv->type));
	if (cap)
		*value = 0;
	switch (kv->type) {
	case LINNET_GGUF_U8:
	case LINNET_GGUF_U16:
	case LINNET_GGUF_U32:
	case LINNET_GGUF_U64:
		add(&t, "%" PRIu64, kv->u);
		break;
	case LINNET_GGUF_I8:
	case LINNET_GGUF_I16:
	case LINNET_GGUF_I32:
	case LINNET_GGUF_I64:
		add(&t, "%" PRId64, kv->i);
		break;
	case LINNET_GGUF_F32:
		add(&t, "%.7g", kv->f);
		break;
	case LINNET_GGUF_F64:
		add(&t, "%.17g", kv->f);
		break;
	case LINNET_GGUF_BOOL:
		add(&t, "%s", kv->u ? "true" : "false");
		break;
	case LINNET_GGUF_STRING:
		add_str(&t, kv->str, MAX_STRING);
		break;
	case LINNET_GGUF_ARRAY:
		add(&t, "[");
		for (size_t j = 0; j < kv->arr.n && j < MAX_ELEMENTS; j++) {
			if (j)
				add(&t, ", ");
			add_element(&t, &kv->arr, j);
		}
		add(&t, kv->arr.n > MAX_ELEMENTS ? ", ...]" : "]");
		break;
	}
	return 0;
}
