// SPDX-License-Identifier: MIT
/*
 * Values of the Jinja interpreter: making them, comparing them, looking into them
 * and writing them down as Python's str(), repr() and json.dumps() do.
 */
#include "jinja_int.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/util/error.h"
#include "vocab.h"

#define STRING_CHUNK 16384

int jinja_error(struct jinja *j, int code, const char *fmt, ...)
{
	char what[400];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	/* One line, whatever names the template uses. */
	for (char *p = what; *p; p++) {
		if ((unsigned char)*p < 0x20)
			*p = ' ';
	}
	return linnet_err(j->err, code, "%s: line %u: %s", j->name, j->line, what);
}

int jinja_work(struct jinja *j, size_t n)
{
	j->steps += n;
	if (j->steps > JINJA_MAX_STEPS)
		return jinja_error(j, -E2BIG, "more than %d steps", JINJA_MAX_STEPS);
	return 0;
}

void *jinja_alloc(struct jinja *j, size_t n, size_t size)
{
	void *p;

	if (j->arena.bytes >= JINJA_MAX_BYTES || n > JINJA_MAX_BYTES / size) {
		j->no_room = true;
		jinja_error(j, -E2BIG, "more than %zu MiB of memory", JINJA_MAX_BYTES >> 20);
		return NULL;
	}
	p = linnet_arena_array(&j->arena, n, size, 16);
	if (!p)
		jinja_error(j, -ENOMEM, "no memory");
	return p;
}

/* --------------------------------------------------------------- characters */

size_t jinja_char_len(const char *p, size_t n)
{
	uint32_t ch;
	int len = utf8_char(p, n, &ch);

	return len ? len : 1;
}

size_t jinja_str_length(const struct linnet_str *s)
{
	size_t count = 0;

	for (size_t at = 0; at < s->n; count++)
		at += jinja_char_len(s->p + at, s->n - at);
	return count;
}

/* What Python's str.isspace() takes for white space. */
bool jinja_is_space(const char *p, size_t n)
{
	uint32_t ch;

	if (!utf8_char(p, n, &ch))
		return false;
	return (ch >= 0x09 && ch <= 0x0D) || (ch >= 0x1C && ch <= 0x20) || ch == 0x85 ||
	       ch == 0xA0 || ch == 0x1680 || (ch >= 0x2000 && ch <= 0x200A) || ch == 0x2028 ||
	       ch == 0x2029 || ch == 0x202F || ch == 0x205F || ch == 0x3000;
}

bool jinja_is_name(const struct linnet_str *s, const char *name)
{
	return s->n == strlen(name) && !memcmp(s->p, name, s->n);
}

/* ------------------------------------------------------------------- making */

struct jinja_value jinja_none(void)
{
	return (struct jinja_value){ .type = JINJA_NONE };
}

struct jinja_value jinja_bool(bool b)
{
	return (struct jinja_value){ .type = JINJA_BOOL, .b = b };
}

struct jinja_value jinja_int(int64_t i)
{
	return (struct jinja_value){ .type = JINJA_INT, .i = i };
}

struct jinja_value jinja_string(const char *p, size_t n)
{
	return (struct jinja_value){ .type = JINJA_STRING, .str = { p ? p : "", n } };
}

struct jinja_value jinja_undefined(const char *p, size_t n)
{
	return (struct jinja_value){ .type = JINJA_UNDEFINED, .str = { p, n } };
}

int jinja_new_list(struct jinja *j, struct jinja_value *out)
{
	struct jinja_list *list = jinja_alloc(j, 1, sizeof(*list));

	if (!list)
		return -ENOMEM;
	*list = (struct jinja_list){ 0 };
	*out = (struct jinja_value){ .type = JINJA_LIST, .list = list };
	return 0;
}

int jinja_new_dict(struct jinja *j, struct jinja_value *out)
{
	struct jinja_dict *dict = jinja_alloc(j, 1, sizeof(*dict));

	if (!dict)
		return -ENOMEM;
	*dict = (struct jinja_dict){ 0 };
	*out = (struct jinja_value){ .type = JINJA_DICT, .dict = dict };
	return 0;
}

/* Room for one more element; what was there is left to the arena. */
static int grow(struct jinja *j, void *array, size_t n, size_t *cap, size_t size)
{
	size_t bigger = *cap ? 2 * *cap : 4;
	void *p;

	if (n < *cap)
		return 0;
	p = jinja_alloc(j, bigger, size);
	if (!p)
		return -ENOMEM;
	if (n)
		memcpy(p, *(void **)array, n * size);
	*(void **)array = p;
	*cap = bigger;
	return 0;
}

int jinja_append(struct jinja *j, struct jinja_value *list, struct jinja_value item)
{
	struct jinja_list *l = list->list;

	if (grow(j, &l->v, l->n, &l->cap, sizeof(*l->v)))
		return -ENOMEM;
	l->v[l->n++] = item;
	return 0;
}

struct jinja_value *jinja_dict_find(const struct jinja_dict *d, const struct jinja_value *key)
{
	for (size_t i = 0; i < d->n; i++) {
		const struct jinja_value *k = &d->v[i].key;
		bool equal = false;

		if (k->type == JINJA_STRING && key->type == JINJA_STRING)
			equal = k->str.n == key->str.n && !memcmp(k->str.p, key->str.p, k->str.n);
		else if (k->type != JINJA_STRING && key->type != JINJA_STRING)
			jinja_equal(NULL, k, key, &equal);
		if (equal)
			return &d->v[i].value;
	}
	return NULL;
}

int jinja_insert(struct jinja *j, struct jinja_value *dict, struct jinja_value key,
		 struct jinja_value value)
{
	struct jinja_dict *d = dict->dict;
	struct jinja_value *old;

	if (jinja_work(j, 1 + d->n / 8))
		return -E2BIG;
	old = jinja_dict_find(d, &key);
	if (old) {
		*old = value;
		return 0;
	}
	if (grow(j, &d->v, d->n, &d->cap, sizeof(*d->v)))
		return -ENOMEM;
	d->v[d->n++] = (struct jinja_pair){ key, value };
	return 0;
}

/* ------------------------------------------------------------------ strings */

/*
 * Strings lie one after the other in their own chunks, and one that is the last
 * can be made longer where it is: adding to a text piece by piece is linear.
 */
static char *string_room(struct jinja *j, size_t n)
{
	char *p = j->str_top;

	if (n >= (size_t)(j->str_end - j->str_top)) {
		size_t chunk = n < STRING_CHUNK / 2 ? STRING_CHUNK : 2 * n + 1;

		p = jinja_alloc(j, chunk, 1);
		if (!p)
			return NULL;
		j->str_top = p;
		j->str_end = p + chunk;
	}
	return p;
}

int jinja_copy_string(struct jinja *j, const char *p, size_t n, struct jinja_value *out)
{
	char *q;

	if (jinja_work(j, n / 64))
		return -E2BIG;
	q = string_room(j, n);
	if (!q)
		return -ENOMEM;
	if (n)
		memcpy(q, p, n);
	j->str_top = q + n;
	*out = jinja_string(q, n);
	return 0;
}

int jinja_concat(struct jinja *j, const struct jinja_value *a, const struct jinja_value *b,
		 struct jinja_value *out)
{
	const struct linnet_str left = a->str, right = b->str;
	char *q;

	if (jinja_work(j, right.n / 64))
		return -E2BIG;
	if (left.n && left.p + left.n == j->str_top &&
	    right.n < (size_t)(j->str_end - j->str_top)) {
		memcpy(j->str_top, right.p, right.n);
		j->str_top += right.n;
		*out = jinja_string(left.p, left.n + right.n);
		return 0;
	}
	if (jinja_work(j, left.n / 64))
		return -E2BIG;
	q = string_room(j, left.n + right.n);
	if (!q)
		return -ENOMEM;
	if (left.n)
		memcpy(q, left.p, left.n);
	if (right.n)
		memcpy(q + left.n, right.p, right.n);
	j->str_top = q + left.n + right.n;
	*out = jinja_string(q, left.n + right.n);
	return 0;
}

void jinja_put(struct jinja_buf *b, const char *p, size_t n)
{
	if (b->ret)
		return;
	b->ret = jinja_work(b->j, n / 64);
	if (b->ret)
		return;
	if (n > b->cap - b->n) {
		size_t cap = 2 * (b->n + n) + 64;
		char *bigger;

		if (b->n + n > JINJA_MAX_BYTES) {
			b->ret = jinja_error(b->j, -E2BIG, "more than %zu MiB of text",
					     JINJA_MAX_BYTES >> 20);
			return;
		}
		bigger = realloc(b->p, cap);
		if (!bigger) {
			b->ret = jinja_error(b->j, -ENOMEM, "no memory");
			return;
		}
		b->p = bigger;
		b->cap = cap;
	}
	if (n)
		memcpy(b->p + b->n, p, n);
	b->n += n;
}

void jinja_puts(struct jinja_buf *b, const char *s)
{
	jinja_put(b, s, strlen(s));
}

int jinja_buf_string(struct jinja_buf *b, struct jinja_value *out)
{
	int ret = b->ret ? b->ret : jinja_copy_string(b->j, b->p, b->n, out);

	free(b->p);
	b->p = NULL;
	return ret;
}

/* The shortest decimal that reads back as f, laid out as Python does. */
static void put_float(struct jinja_buf *b, double f)
{
	char text[40], digits[24], *e;
	int n = 0, exponent;

	if (isnan(f) || isinf(f)) {
		jinja_puts(b, isnan(f) ? "nan" : f < 0 ? "-inf" : "inf");
		return;
	}
	for (int precision = 0; precision < 17; precision++) {
		snprintf(text, sizeof(text), "%.*e", precision, f);
		if (strtod(text, NULL) == f)
			break;
	}
	/* The locale may put any character between the digits. */
	e = strrchr(text, 'e');
	exponent = atoi(e + 1);
	for (const char *p = text; p < e; p++) {
		if (*p >= '0' && *p <= '9')
			digits[n++] = *p;
	}
	while (n > 1 && digits[n - 1] == '0')
		n--;
	if (signbit(f))
		jinja_puts(b, "-");
	if (exponent < -4 || exponent >= 16) {
		jinja_put(b, digits, 1);
		if (n > 1) {
			jinja_puts(b, ".");
			jinja_put(b, digits + 1, n - 1);
		}
		snprintf(text, sizeof(text), "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
		jinja_puts(b, text);
		return;
	}
	if (exponent < 0) {
		jinja_puts(b, "0.");
		for (int i = -1; i > exponent; i--)
			jinja_puts(b, "0");
		jinja_put(b, digits, n);
		return;
	}
	for (int i = 0; i <= exponent || i < n; i++) {
		if (i == exponent + 1)
			jinja_puts(b, ".");
		jinja_put(b, i < n ? &digits[i] : "0", 1);
	}
	if (n <= exponent + 1)
		jinja_puts(b, ".0");
}

/* In quotes: 'single' unless there is only a single quote in it. */
static void put_quoted(struct jinja_buf *b, const struct linnet_str *s)
{
	bool doubled = memchr(s->p, '\'', s->n) && !memchr(s->p, '"', s->n);
	const char *quote = doubled ? "\"" : "'";

	jinja_puts(b, quote);
	for (size_t i = 0; i < s->n; i++) {
		char c = s->p[i], text[8];

		if (c == '\\' || c == *quote)
			snprintf(text, sizeof(text), "\\%c", c);
		else if (c == '\n')
			strcpy(text, "\\n");
		else if (c == '\r')
			strcpy(text, "\\r");
		else if (c == '\t')
			strcpy(text, "\\t");
		else if ((unsigned char)c < 0x20 || c == 0x7F)
			snprintf(text, sizeof(text), "\\x%02x", (unsigned char)c);
		else
			snprintf(text, sizeof(text), "%c", c);
		jinja_puts(b, text);
	}
	jinja_puts(b, quote);
}

static int enter(struct jinja_buf *b)
{
	if (!b->ret && ++b->j->depth > JINJA_MAX_DEPTH)
		b->ret = jinja_error(b->j, -E2BIG, "nested more than %d deep", JINJA_MAX_DEPTH);
	if (!b->ret)
		b->ret = jinja_work(b->j, 1);
	return b->ret;
}

void jinja_put_repr(struct jinja_buf *b, const struct jinja_value *v)
{
	char text[32];

	if (enter(b))
		return;
	switch (v->type) {
	case JINJA_UNDEFINED:
		jinja_puts(b, "Undefined");
		break;
	case JINJA_NONE:
		jinja_puts(b, "None");
		break;
	case JINJA_BOOL:
		jinja_puts(b, v->b ? "True" : "False");
		break;
	case JINJA_INT:
		snprintf(text, sizeof(text), "%" PRId64, v->i);
		jinja_puts(b, text);
		break;
	case JINJA_FLOAT:
		put_float(b, v->f);
		break;
	case JINJA_STRING:
		put_quoted(b, &v->str);
		break;
	case JINJA_LIST:
		jinja_puts(b, v->list->tuple ? "(" : "[");
		for (size_t i = 0; i < v->list->n; i++) {
			if (i)
				jinja_puts(b, ", ");
			jinja_put_repr(b, &v->list->v[i]);
		}
		if (v->list->tuple)
			jinja_puts(b, v->list->n == 1 ? ",)" : ")");
		else
			jinja_puts(b, "]");
		break;
	case JINJA_DICT:
	case JINJA_NAMESPACE:
		jinja_puts(b, v->type == JINJA_DICT ? "{" : "<Namespace {");
		for (size_t i = 0; i < v->dict->n; i++) {
			if (i)
				jinja_puts(b, ", ");
			jinja_put_repr(b, &v->dict->v[i].key);
			jinja_puts(b, ": ");
			jinja_put_repr(b, &v->dict->v[i].value);
		}
		jinja_puts(b, v->type == JINJA_DICT ? "}" : "}>");
		break;
	case JINJA_MACRO:
	case JINJA_FUNCTION:
	case JINJA_METHOD:
	case JINJA_LOOP:
		b->ret = jinja_error(b->j, -EINVAL, "%s has no text", jinja_type_name(v));
		break;
	}
	b->j->depth--;
}

void jinja_put_value(struct jinja_buf *b, const struct jinja_value *v)
{
	if (v->type == JINJA_STRING)
		jinja_put(b, v->str.p, v->str.n);
	else if (v->type != JINJA_UNDEFINED)
		jinja_put_repr(b, v);
}

static void put_json_string(struct jinja_buf *b, const struct linnet_str *s, bool ascii)
{
	static const char from[] = "\"\\\n\r\t\b\f", to[] = "\"\\nrtbf";

	jinja_puts(b, "\"");
	for (size_t i = 0; i < s->n;) {
		size_t len = jinja_char_len(s->p + i, s->n - i);
		const char *known = memchr(from, s->p[i], sizeof(from) - 1);
		uint32_t ch = (unsigned char)s->p[i];
		char text[16];

		if (len > 1)
			utf8_char(s->p + i, len, &ch);
		if (known)
			snprintf(text, sizeof(text), "\\%c", to[known - from]);
		else if (ch >= 0x10000 && ascii)
			snprintf(text, sizeof(text), "\\u%04x\\u%04x",
				 0xD800 + ((ch - 0x10000) >> 10), 0xDC00 + (ch & 0x3FF));
		else if (ch < 0x20 || (ch > 0x7E && ascii))
			snprintf(text, sizeof(text), "\\u%04x", ch);
		else
			snprintf(text, sizeof(text), "%.*s", (int)len, s->p + i);
		jinja_puts(b, text);
		i += len;
	}
	jinja_puts(b, "\"");
}

static void json_line(struct jinja_buf *b, int indent, int level)
{
	jinja_puts(b, "\n");
	for (int i = 0; i < indent * level && !b->ret; i++)
		jinja_puts(b, " ");
}

void jinja_put_json(struct jinja_buf *b, const struct jinja_value *v, bool ascii, int indent,
		    int level)
{
	const struct jinja_pair *pair;

	if (enter(b))
		return;
	switch (v->type) {
	case JINJA_NONE:
		jinja_puts(b, "null");
		break;
	case JINJA_BOOL:
		jinja_puts(b, v->b ? "true" : "false");
		break;
	case JINJA_INT:
	case JINJA_FLOAT:
		jinja_put_repr(b, v);
		break;
	case JINJA_STRING:
		put_json_string(b, &v->str, ascii);
		break;
	case JINJA_LIST:
		jinja_puts(b, "[");
		for (size_t i = 0; i < v->list->n; i++) {
			if (i)
				jinja_puts(b, indent < 0 ? ", " : ",");
			if (indent >= 0)
				json_line(b, indent, level + 1);
			jinja_put_json(b, &v->list->v[i], ascii, indent, level + 1);
		}
		if (indent >= 0 && v->list->n)
			json_line(b, indent, level);
		jinja_puts(b, "]");
		break;
	case JINJA_DICT:
		jinja_puts(b, "{");
		for (size_t i = 0; i < v->dict->n; i++) {
			pair = &v->dict->v[i];
			if (i)
				jinja_puts(b, indent < 0 ? ", " : ",");
			if (indent >= 0)
				json_line(b, indent, level + 1);
			if (pair->key.type == JINJA_STRING) {
				put_json_string(b, &pair->key.str, ascii);
			} else {
				jinja_puts(b, "\"");
				jinja_put_json(b, &pair->key, ascii, -1, 0);
				jinja_puts(b, "\"");
			}
			jinja_puts(b, ": ");
			jinja_put_json(b, &pair->value, ascii, indent, level + 1);
		}
		if (indent >= 0 && v->dict->n)
			json_line(b, indent, level);
		jinja_puts(b, "}");
		break;
	default:
		b->ret = jinja_error(b->j, -EINVAL, "%s has no form in JSON", jinja_type_name(v));
	}
	b->j->depth--;
}

int jinja_to_string(struct jinja *j, const struct jinja_value *v, struct jinja_value *out)
{
	struct jinja_buf b = { .j = j };

	if (v->type == JINJA_STRING) {
		*out = *v;
		return 0;
	}
	jinja_put_value(&b, v);
	return jinja_buf_string(&b, out);
}

/* --------------------------------------------------------------- inspecting */

const char *jinja_type_name(const struct jinja_value *v)
{
	static const char *const names[] = {
		[JINJA_UNDEFINED] = "an undefined value",
		[JINJA_NONE] = "none",
		[JINJA_BOOL] = "a boolean",
		[JINJA_INT] = "an integer",
		[JINJA_FLOAT] = "a float",
		[JINJA_STRING] = "a string",
		[JINJA_LIST] = "a list",
		[JINJA_DICT] = "a dict",
		[JINJA_NAMESPACE] = "a namespace",
		[JINJA_MACRO] = "a macro",
		[JINJA_FUNCTION] = "a function",
		[JINJA_METHOD] = "a method",
		[JINJA_LOOP] = "the loop",
	};

	return names[v->type];
}

bool jinja_is_true(const struct jinja_value *v)
{
	switch (v->type) {
	case JINJA_UNDEFINED:
	case JINJA_NONE:
		return false;
	case JINJA_BOOL:
		return v->b;
	case JINJA_INT:
		return v->i;
	case JINJA_FLOAT:
		return v->f != 0;
	case JINJA_STRING:
		return v->str.n;
	case JINJA_LIST:
		return v->list->n;
	case JINJA_DICT:
		return v->dict->n;
	default:
		return true;
	}
}

static bool is_number(const struct jinja_value *v)
{
	return v->type == JINJA_BOOL || v->type == JINJA_INT || v->type == JINJA_FLOAT;
}

static double as_double(const struct jinja_value *v)
{
	if (v->type == JINJA_FLOAT)
		return v->f;
	return v->type == JINJA_BOOL ? v->b : v->i;
}

static int compare_numbers(const struct jinja_value *a, const struct jinja_value *b)
{
	double x = as_double(a), y = as_double(b);

	if (a->type != JINJA_FLOAT && b->type != JINJA_FLOAT) {
		int64_t i = a->type == JINJA_BOOL ? a->b : a->i;
		int64_t k = b->type == JINJA_BOOL ? b->b : b->i;

		return (i > k) - (i < k);
	}
	return (x > y) - (x < y);
}

static int compare_strings(const struct linnet_str *a, const struct linnet_str *b)
{
	size_t n = a->n < b->n ? a->n : b->n;
	int order = n ? memcmp(a->p, b->p, n) : 0;

	return order ? order : (a->n > b->n) - (a->n < b->n);
}

/* j may be NULL: then lists and dicts are never equal. */
int jinja_equal(struct jinja *j, const struct jinja_value *a, const struct jinja_value *b,
		bool *out)
{
	int ret = 0;

	*out = false;
	if (is_number(a) && is_number(b)) {
		*out = !compare_numbers(a, b) && as_double(a) == as_double(b);
		return 0;
	}
	if (a->type != b->type)
		return 0;
	switch (a->type) {
	case JINJA_UNDEFINED:
	case JINJA_NONE:
		*out = true;
		return 0;
	case JINJA_STRING:
		*out = !compare_strings(&a->str, &b->str);
		return j ? jinja_work(j, a->str.n / 64) : 0;
	case JINJA_LIST:
	case JINJA_DICT:
		break;
	default:
		*out = a->list == b->list;
		return 0;
	}
	if (!j)
		return 0;
	if (++j->depth > JINJA_MAX_DEPTH)
		return jinja_error(j, -E2BIG, "nested more than %d deep", JINJA_MAX_DEPTH);
	if (a->type == JINJA_LIST) {
		*out = a->list->n == b->list->n && a->list->tuple == b->list->tuple;
		for (size_t i = 0; i < a->list->n && *out && !ret; i++) {
			ret = jinja_work(j, 1);
			if (!ret)
				ret = jinja_equal(j, &a->list->v[i], &b->list->v[i], out);
		}
	} else {
		*out = a->dict->n == b->dict->n;
		for (size_t i = 0; i < a->dict->n && *out && !ret; i++) {
			const struct jinja_value *other = jinja_dict_find(b->dict,
									  &a->dict->v[i].key);

			ret = jinja_work(j, 1 + b->dict->n / 8);
			*out = other;
			if (other && !ret)
				ret = jinja_equal(j, &a->dict->v[i].value, other, out);
		}
	}
	j->depth--;
	return ret;
}

int jinja_order(struct jinja *j, const struct jinja_value *a, const struct jinja_value *b,
		int *out)
{
	if (is_number(a) && is_number(b)) {
		*out = compare_numbers(a, b);
		return 0;
	}
	if (a->type == JINJA_STRING && b->type == JINJA_STRING) {
		*out = compare_strings(&a->str, &b->str);
		return jinja_work(j, a->str.n / 64);
	}
	if (a->type == JINJA_LIST && b->type == JINJA_LIST) {
		size_t n = a->list->n < b->list->n ? a->list->n : b->list->n;
		int ret = 0;

		if (++j->depth > JINJA_MAX_DEPTH)
			return jinja_error(j, -E2BIG, "nested more than %d deep", JINJA_MAX_DEPTH);
		*out = 0;
		for (size_t i = 0; i < n && !*out && !ret; i++) {
			ret = jinja_work(j, 1);
			if (!ret)
				ret = jinja_order(j, &a->list->v[i], &b->list->v[i], out);
		}
		if (!*out)
			*out = (a->list->n > b->list->n) - (a->list->n < b->list->n);
		j->depth--;
		return ret;
	}
	return jinja_error(j, -EINVAL, "%s and %s have no order", jinja_type_name(a),
			   jinja_type_name(b));
}

int jinja_contains(struct jinja *j, const struct jinja_value *in, const struct jinja_value *v,
		   bool *out)
{
	int ret = 0;

	*out = false;
	switch (in->type) {
	case JINJA_UNDEFINED:
		return 0;
	case JINJA_STRING:
		if (v->type != JINJA_STRING)
			return jinja_error(j, -EINVAL, "%s cannot be in a string",
					   jinja_type_name(v));
		*out = !v->str.n || memmem(in->str.p, in->str.n, v->str.p, v->str.n);
		return jinja_work(j, in->str.n / 64);
	case JINJA_LIST:
		for (size_t i = 0; i < in->list->n && !*out && !ret; i++) {
			ret = jinja_work(j, 1);
			if (!ret)
				ret = jinja_equal(j, &in->list->v[i], v, out);
		}
		return ret;
	case JINJA_DICT:
		*out = jinja_dict_find(in->dict, v);
		return jinja_work(j, in->dict->n / 8);
	default:
		return jinja_error(j, -EINVAL, "nothing is in %s", jinja_type_name(in));
	}
}

int jinja_to_list(struct jinja *j, const struct jinja_value *v, struct jinja_list **out)
{
	struct jinja_value list;
	int ret;

	if (v->type == JINJA_LIST) {
		*out = v->list;
		return 0;
	}
	if (v->type != JINJA_UNDEFINED && v->type != JINJA_STRING && v->type != JINJA_DICT)
		return jinja_error(j, -EINVAL, "%s has no elements", jinja_type_name(v));
	ret = jinja_new_list(j, &list);
	if (!ret && v->type == JINJA_STRING) {
		for (size_t at = 0; at < v->str.n && !ret;) {
			size_t len = jinja_char_len(v->str.p + at, v->str.n - at);

			ret = jinja_append(j, &list, jinja_string(v->str.p + at, len));
			at += len;
		}
	}
	if (!ret && v->type == JINJA_DICT) {
		for (size_t i = 0; i < v->dict->n && !ret; i++)
			ret = jinja_append(j, &list, v->dict->v[i].key);
	}
	if (ret)
		return ret;
	*out = list.list;
	return jinja_work(j, list.list->n / 8);
}

static int undefined_error(struct jinja *j, const struct jinja_value *v)
{
	return jinja_error(j, -EINVAL, "'%.*s' is undefined", SHOWN(v->str.n),
			   v->str.p);
}

static int find_method(struct jinja *j, const struct jinja_value *v,
		       const struct linnet_str *name, struct jinja_value *out)
{
	const struct jinja_builtin *f = jinja_find_method(v->type, name);
	struct jinja_method *m;

	*out = jinja_undefined(name->p, name->n);
	if (!f)
		return 0;
	m = jinja_alloc(j, 1, sizeof(*m));
	if (!m)
		return -ENOMEM;
	*m = (struct jinja_method){ *v, f };
	*out = (struct jinja_value){ .type = JINJA_METHOD, .method = m };
	return 0;
}

static struct jinja_value loop_attr(const struct jinja_loop *loop, const struct linnet_str *name)
{
	const struct jinja_list *items = loop->items;
	size_t left = items->n - loop->at;

	if (jinja_is_name(name, "index"))
		return jinja_int(loop->at + 1);
	if (jinja_is_name(name, "index0"))
		return jinja_int(loop->at);
	if (jinja_is_name(name, "revindex"))
		return jinja_int(left);
	if (jinja_is_name(name, "revindex0"))
		return jinja_int(left - 1);
	if (jinja_is_name(name, "first"))
		return jinja_bool(!loop->at);
	if (jinja_is_name(name, "last"))
		return jinja_bool(left == 1);
	if (jinja_is_name(name, "length"))
		return jinja_int(items->n);
	if (jinja_is_name(name, "previtem") && loop->at)
		return items->v[loop->at - 1];
	if (jinja_is_name(name, "nextitem") && left > 1)
		return items->v[loop->at + 1];
	return jinja_undefined(name->p, name->n);
}

int jinja_attr(struct jinja *j, const struct jinja_value *v, const struct linnet_str *name,
	       struct jinja_value *out)
{
	struct jinja_value key = jinja_string(name->p, name->n), *found;
	int ret;

	switch (v->type) {
	case JINJA_UNDEFINED:
		return undefined_error(j, v);
	case JINJA_LOOP:
		*out = loop_attr(v->loop, name);
		return 0;
	case JINJA_DICT:
		/* As in Python, d.items is the method, whatever keys there are. */
		ret = find_method(j, v, name, out);
		if (ret || out->type == JINJA_METHOD)
			return ret;
		/* fallthrough */
	case JINJA_NAMESPACE:
		found = jinja_dict_find(v->dict, &key);
		*out = found ? *found : jinja_undefined(name->p, name->n);
		return jinja_work(j, v->dict->n / 8);
	default:
		return find_method(j, v, name, out);
	}
}

int jinja_item(struct jinja *j, const struct jinja_value *v, const struct jinja_value *key,
	       struct jinja_value *out)
{
	const struct jinja_value *found = NULL;
	int64_t i = key->type == JINJA_BOOL ? key->b : key->i;

	if (v->type == JINJA_UNDEFINED)
		return undefined_error(j, v);
	if (v->type == JINJA_DICT || v->type == JINJA_NAMESPACE) {
		if (jinja_work(j, v->dict->n / 8))
			return -E2BIG;
		found = jinja_dict_find(v->dict, key);
	} else if (v->type == JINJA_LIST && (key->type == JINJA_INT || key->type == JINJA_BOOL)) {
		if (i < 0)
			i += v->list->n;
		if (i >= 0 && (size_t)i < v->list->n)
			found = &v->list->v[i];
	} else if (v->type == JINJA_STRING && (key->type == JINJA_INT || key->type == JINJA_BOOL)) {
		if (jinja_work(j, v->str.n / 16))
			return -E2BIG;
		if (i < 0)
			i += jinja_str_length(&v->str);
		for (size_t at = 0; at < v->str.n && i >= 0; i--) {
			size_t len = jinja_char_len(v->str.p + at, v->str.n - at);

			if (!i) {
				*out = jinja_string(v->str.p + at, len);
				return 0;
			}
			at += len;
		}
	}
	if (found) {
		*out = *found;
		return 0;
	}
	if (key->type == JINJA_STRING && v->type != JINJA_NAMESPACE)
		return v->type == JINJA_LOOP ? jinja_attr(j, v, &key->str, out) :
		       find_method(j, v, &key->str, out);
	*out = jinja_undefined("list element", 12);
	return 0;
}
