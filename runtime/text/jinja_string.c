// SPDX-License-Identifier: MIT
/*
 * Strings of the Jinja interpreter: what changes and takes apart a string, and the
 * methods of strings, which are Python's.
 */
#include "jinja_int.h"

#include <errno.h>
#include <string.h>

static char upper(char c)
{
	return c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c;
}

static char lower(char c)
{
	return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c & 0x80);
}

/* The filter title makes a capital of what follows such a character. */
static bool starts_word(char c)
{
	return jinja_is_space(&c, 1) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
}

/* A character of s at `at` that is in `set` (NULL: is white space); its length. */
static size_t in_set(const struct linnet_str *s, size_t at, const struct linnet_str *set)
{
	size_t len = jinja_char_len(s->p + at, s->n - at);

	if (!set)
		return jinja_is_space(s->p + at, s->n - at) ? len : 0;
	for (size_t i = 0; i < set->n;) {
		size_t n = jinja_char_len(set->p + i, set->n - i);

		if (n == len && !memcmp(set->p + i, s->p + at, n))
			return len;
		i += n;
	}
	return 0;
}

int jinja_strip(struct jinja *j, const struct jinja_value *text, const struct jinja_value *chars,
		 bool left, bool right, struct jinja_value *out)
{
	struct linnet_str s = text->str;
	const struct linnet_str *set = NULL;
	size_t len;

	if (chars && chars->type != JINJA_NONE) {
		if (jinja_want_string(j, chars, "strip"))
			return -EINVAL;
		set = &chars->str;
	}
	if (jinja_work(j, s.n / 64))
		return -E2BIG;
	while (left && s.n && (len = in_set(&s, 0, set))) {
		s.p += len;
		s.n -= len;
		if (jinja_work(j, 1))
			return -E2BIG;
	}
	while (right && s.n) {
		/* Back to where the last character begins. */
		size_t at = s.n - 1;

		while (at && s.n - at < 4 && (s.p[at] & 0xC0) == 0x80)
			at--;
		if (at + jinja_char_len(s.p + at, s.n - at) != s.n)
			at = s.n - 1;
		if (!in_set(&s, at, set))
			break;
		s.n = at;
		if (jinja_work(j, 1))
			return -E2BIG;
	}
	*out = jinja_string(s.p, s.n);
	return 0;
}

int jinja_change_case(struct jinja *j, const struct jinja_value *v, enum jinja_case to,
		       struct jinja_value *out)
{
	struct jinja_value text;
	bool start = true;
	char *p;
	int ret = jinja_to_string(j, v, &text);

	/* A copy of its own: the one that is there may be somebody's. */
	if (!ret)
		ret = jinja_copy_string(j, text.str.p, text.str.n, out);
	if (ret)
		return ret;
	p = (char *)out->str.p;
	for (size_t i = 0; i < out->str.n; i++) {
		if (to == JINJA_CASE_UPPER || (start && to != JINJA_CASE_LOWER))
			p[i] = upper(p[i]);
		else
			p[i] = lower(p[i]);
		start = (to == JINJA_CASE_TITLE && starts_word(p[i])) ||
			(to == JINJA_CASE_LETTERS && !is_letter(p[i]));
	}
	return 0;
}

int jinja_replace(struct jinja *j, const struct linnet_str *s, const struct jinja_value *from,
		   const struct jinja_value *to, const struct jinja_value *count,
		   struct jinja_value *out)
{
	struct jinja_buf b = { .j = j };
	int64_t left = INT64_MAX;
	size_t at = 0;

	if (jinja_want_string(j, from, "replace") || jinja_want_string(j, to, "replace"))
		return -EINVAL;
	if (count && count->type != JINJA_NONE) {
		if (jinja_want_int(j, count, "replace", &left))
			return -EINVAL;
		if (left < 0)
			left = INT64_MAX;
	}
	while (left-- && !b.ret) {
		const char *p = memmem(s->p + at, s->n - at, from->str.p, from->str.n);
		size_t end;

		if (!p)
			break;
		end = p - s->p;
		if (!from->str.n) {
			/* Between all characters, before the first and after the last. */
			jinja_put(&b, to->str.p, to->str.n);
			if (at == s->n) {
				b.ret = b.ret ? b.ret : jinja_work(j, 1);
				return jinja_buf_string(&b, out);
			}
			end = at + jinja_char_len(s->p + at, s->n - at);
			jinja_put(&b, s->p + at, end - at);
			at = end;
		} else {
			jinja_put(&b, s->p + at, end - at);
			jinja_put(&b, to->str.p, to->str.n);
			at = end + from->str.n;
		}
		if (!b.ret)
			b.ret = jinja_work(j, 1);
	}
	jinja_put(&b, s->p + at, s->n - at);
	return jinja_buf_string(&b, out);
}

/* "{}" and "{name}" replaced by the arguments; formats after a colon are not there. */
BUILTIN(string_format)
{
	struct jinja_buf b = { .j = j };
	const struct linnet_str *s = &self->str;
	size_t next = 0;

	for (size_t at = 0; at < s->n && !b.ret; at++) {
		const struct jinja_value *v = NULL;
		struct linnet_str field;
		const char *end;

		if (s->p[at] != '{' && s->p[at] != '}') {
			jinja_put(&b, s->p + at, 1);
			continue;
		}
		if (at + 1 < s->n && s->p[at + 1] == s->p[at]) {
			jinja_put(&b, s->p + at++, 1);
			continue;
		}
		end = memchr(s->p + at, '}', s->n - at);
		if (s->p[at] == '}' || !end) {
			b.ret = jinja_error(j, -EINVAL, "format: a single '%c'", s->p[at]);
			break;
		}
		field = (struct linnet_str){ s->p + at + 1, end - s->p - at - 1 };
		if (memchr(field.p, ':', field.n) || memchr(field.p, '!', field.n) ||
		    memchr(field.p, '.', field.n) || memchr(field.p, '[', field.n)) {
			b.ret = jinja_error(j, -ENOTSUP, "format: '{%.*s}' is not supported",
					    SHOWN(field.n), field.p);
			break;
		}
		if (!field.n || (field.p[0] >= '0' && field.p[0] <= '9')) {
			size_t i = 0;

			for (size_t k = 0; k < field.n && i < 1000; k++)
				i = i * 10 + (field.p[k] & 15);
			i = field.n ? i : next++;
			if (i < c->n && !c->arg[i].name.p)
				v = &c->arg[i].v;
		}
		for (size_t i = 0; i < c->n && field.n; i++) {
			if (c->arg[i].name.p && c->arg[i].name.n == field.n &&
			    !memcmp(c->arg[i].name.p, field.p, field.n))
				v = &c->arg[i].v;
		}
		if (!v)
			b.ret = jinja_error(j, -EINVAL, "format: no argument for '{%.*s}'",
					    SHOWN(field.n), field.p);
		else
			jinja_put_value(&b, v);
		at = end - s->p;
	}
	return jinja_buf_string(&b, out);
}

BUILTIN(string_upper)
{
	return jinja_change_case(j, self, JINJA_CASE_UPPER, out);
}

BUILTIN(string_lower)
{
	return jinja_change_case(j, self, JINJA_CASE_LOWER, out);
}

BUILTIN(string_title)
{
	return jinja_change_case(j, self, JINJA_CASE_LETTERS, out);
}

BUILTIN(string_capitalize)
{
	return jinja_change_case(j, self, JINJA_CASE_CAPITAL, out);
}

BUILTIN(string_strip)
{
	return jinja_strip(j, self, c->bound[0], true, true, out);
}

BUILTIN(string_lstrip)
{
	return jinja_strip(j, self, c->bound[0], true, false, out);
}

BUILTIN(string_rstrip)
{
	return jinja_strip(j, self, c->bound[0], false, true, out);
}

BUILTIN(string_replace)
{
	return jinja_replace(j, &self->str, c->bound[0], c->bound[1], c->bound[2], out);
}

static int add_part(struct jinja *j, struct jinja_value *list, const char *p, size_t n)
{
	int ret = jinja_work(j, 1);

	return ret ? ret : jinja_append(j, list, jinja_string(p, n));
}

static int split_spaces(struct jinja *j, const struct linnet_str *s, int64_t max,
			struct jinja_value *out)
{
	size_t at = 0, len;
	int ret = 0;

	while (!ret) {
		size_t start;

		while (at < s->n && (len = in_set(s, at, NULL)))
			at += len;
		if (at == s->n)
			break;
		start = at;
		if (max-- == 0)
			return add_part(j, out, s->p + at, s->n - at);
		while (at < s->n && !in_set(s, at, NULL))
			at += jinja_char_len(s->p + at, s->n - at);
		ret = add_part(j, out, s->p + start, at - start);
	}
	return ret;
}

BUILTIN(string_split)
{
	const struct linnet_str *s = &self->str, *sep;
	int64_t max = -1;
	size_t at = 0;
	int ret;

	if (c->bound[1] && jinja_want_int(j, c->bound[1], "split", &max))
		return -EINVAL;
	ret = jinja_new_list(j, out);
	if (!ret)
		ret = jinja_work(j, s->n / 64);
	if (ret)
		return ret;
	if (!c->bound[0] || c->bound[0]->type == JINJA_NONE)
		return split_spaces(j, s, max, out);
	if (jinja_want_string(j, c->bound[0], "split"))
		return -EINVAL;
	sep = &c->bound[0]->str;
	if (!sep->n)
		return jinja_error(j, -EINVAL, "split wants a separator that is not empty");
	while (!ret && max-- != 0) {
		const char *p = memmem(s->p + at, s->n - at, sep->p, sep->n);

		if (!p)
			break;
		ret = add_part(j, out, s->p + at, p - s->p - at);
		at = p - s->p + sep->n;
	}
	return ret ? ret : add_part(j, out, s->p + at, s->n - at);
}

BUILTIN(string_rsplit)
{
	const struct linnet_str *s = &self->str, *sep;
	size_t end = s->n, at;
	int64_t max = -1;
	int ret;

	if (c->bound[1] && jinja_want_int(j, c->bound[1], "rsplit", &max))
		return -EINVAL;
	if (max < 0)
		return string_split(j, self, c, out);
	if (jinja_want_string(j, c->bound[0], "rsplit"))
		return -EINVAL;
	sep = &c->bound[0]->str;
	ret = jinja_new_list(j, out);
	if (!sep->n)
		return jinja_error(j, -EINVAL, "rsplit wants a separator that is not empty");
	for (at = s->n; at-- > 0 && max > 0 && !ret;) {
		if (jinja_work(j, 1))
			return -E2BIG;
		if (end - at < sep->n || memcmp(s->p + at, sep->p, sep->n))
			continue;
		ret = add_part(j, out, s->p + at + sep->n, end - at - sep->n);
		end = at;
		max--;
	}
	if (!ret)
		ret = add_part(j, out, s->p, end);
	for (size_t a = 0, b = out->list->n; !ret && a + 1 < b; a++) {
		struct jinja_value v = out->list->v[a];

		out->list->v[a] = out->list->v[--b];
		out->list->v[b] = v;
	}
	return ret;
}

BUILTIN(string_splitlines)
{
	const struct linnet_str *s = &self->str;
	size_t at = 0;
	int ret = jinja_new_list(j, out);

	while (at < s->n && !ret) {
		const char *end = memchr(s->p + at, '\n', s->n - at);
		size_t stop = end ? (size_t)(end - s->p) : s->n;
		size_t cut = stop > at && s->p[stop - 1] == '\r' ? stop - 1 : stop;

		ret = add_part(j, out, s->p + at, cut - at);
		at = stop + 1;
	}
	return ret;
}

/* Does s begin (or end) with what v says, a string or a tuple of them? */
static int has_affix(struct jinja *j, const struct linnet_str *s, const struct jinja_value *v,
		     bool end, bool *out)
{
	*out = false;
	if (v && v->type == JINJA_LIST) {
		for (size_t i = 0; i < v->list->n && !*out; i++) {
			if (v->list->v[i].type == JINJA_LIST)
				return jinja_want_string(j, &v->list->v[i], "startswith");
			if (has_affix(j, s, &v->list->v[i], end, out))
				return -EINVAL;
		}
		return 0;
	}
	if (jinja_want_string(j, v, end ? "endswith" : "startswith"))
		return -EINVAL;
	*out = v->str.n <= s->n &&
	       !memcmp(end ? s->p + s->n - v->str.n : s->p, v->str.p, v->str.n);
	return jinja_work(j, 1);
}

BUILTIN(string_startswith)
{
	bool yes;
	int ret = has_affix(j, &self->str, c->bound[0], false, &yes);

	*out = jinja_bool(yes);
	return ret;
}

BUILTIN(string_endswith)
{
	bool yes;
	int ret = has_affix(j, &self->str, c->bound[0], true, &yes);

	*out = jinja_bool(yes);
	return ret;
}

BUILTIN(string_removeprefix)
{
	bool yes;
	int ret = has_affix(j, &self->str, c->bound[0], false, &yes);

	*out = *self;
	if (!ret && yes && c->bound[0]->type == JINJA_STRING)
		*out = jinja_string(self->str.p + c->bound[0]->str.n,
				    self->str.n - c->bound[0]->str.n);
	return ret;
}

BUILTIN(string_removesuffix)
{
	bool yes;
	int ret = has_affix(j, &self->str, c->bound[0], true, &yes);

	*out = *self;
	if (!ret && yes && c->bound[0]->type == JINJA_STRING)
		*out = jinja_string(self->str.p, self->str.n - c->bound[0]->str.n);
	return ret;
}

BUILTIN(string_find)
{
	const struct linnet_str *s = &self->str;
	const char *p;

	if (jinja_want_string(j, c->bound[0], "find"))
		return -EINVAL;
	p = memmem(s->p, s->n, c->bound[0]->str.p, c->bound[0]->str.n);
	*out = jinja_int(-1);
	if (p)
		*out = jinja_int(jinja_str_length(&(struct linnet_str){ s->p, p - s->p }));
	return jinja_work(j, s->n / 16);
}

BUILTIN(string_count)
{
	const struct linnet_str *s = &self->str;
	const char *p = s->p;
	int64_t n = 0;

	if (jinja_want_string(j, c->bound[0], "count"))
		return -EINVAL;
	if (!c->bound[0]->str.n) {
		*out = jinja_int(jinja_str_length(s) + 1);
		return jinja_work(j, s->n / 16);
	}
	for (;; n++) {
		p = memmem(p, s->p + s->n - p, c->bound[0]->str.p, c->bound[0]->str.n);
		if (!p)
			break;
		p += c->bound[0]->str.n;
	}
	*out = jinja_int(n);
	return jinja_work(j, s->n / 16);
}

int jinja_join(struct jinja *j, const struct jinja_list *list, const struct linnet_str *sep,
		const struct linnet_str *attr, struct jinja_value *out)
{
	struct jinja_buf b = { .j = j };

	for (size_t i = 0; i < list->n && !b.ret; i++) {
		struct jinja_value v = list->v[i];

		b.ret = jinja_work(j, 1);
		if (attr && !b.ret)
			b.ret = jinja_attr(j, &list->v[i], attr, &v);
		if (i)
			jinja_put(&b, sep->p, sep->n);
		if (!b.ret)
			jinja_put_value(&b, &v);
	}
	return jinja_buf_string(&b, out);
}

BUILTIN(string_join)
{
	struct jinja_list *list;
	int ret;

	if (!c->bound[0])
		return jinja_error(j, -EINVAL, "join wants a list");
	ret = jinja_to_list(j, c->bound[0], &list);
	for (size_t i = 0; !ret && i < list->n; i++)
		ret = jinja_want_string(j, &list->v[i], "join");
	return ret ? ret : jinja_join(j, list, &self->str, NULL, out);
}

BUILTIN(string_isdigit)
{
	bool yes = self->str.n;

	for (size_t i = 0; i < self->str.n; i++)
		yes = yes && self->str.p[i] >= '0' && self->str.p[i] <= '9';
	*out = jinja_bool(yes);
	return jinja_work(j, self->str.n / 64);
}

BUILTIN(string_isspace)
{
	bool yes = self->str.n;
	size_t len;

	for (size_t at = 0; at < self->str.n && yes; at += len) {
		len = in_set(&self->str, at, NULL);
		yes = len;
	}
	*out = jinja_bool(yes);
	return jinja_work(j, self->str.n / 64);
}

static const struct jinja_builtin string_methods[] = {
	{ "capitalize", "", string_capitalize },
	{ "count", "sub", string_count },
	{ "endswith", "suffix", string_endswith },
	{ "find", "sub", string_find },
	{ "format", "*", string_format },
	{ "isdigit", "", string_isdigit },
	{ "isspace", "", string_isspace },
	{ "join", "iterable", string_join },
	{ "lower", "", string_lower },
	{ "lstrip", "chars", string_lstrip },
	{ "removeprefix", "prefix", string_removeprefix },
	{ "removesuffix", "suffix", string_removesuffix },
	{ "replace", "old,new,count", string_replace },
	{ "rsplit", "sep,maxsplit", string_rsplit },
	{ "rstrip", "chars", string_rstrip },
	{ "split", "sep,maxsplit", string_split },
	{ "splitlines", "", string_splitlines },
	{ "startswith", "prefix", string_startswith },
	{ "strip", "chars", string_strip },
	{ "title", "", string_title },
	{ "upper", "", string_upper },
};

const struct jinja_builtin *jinja_find_string_method(const struct linnet_str *name)
{
	return jinja_find(string_methods, sizeof(string_methods) / sizeof(string_methods[0]), name);
}
