// SPDX-License-Identifier: MIT
/*
 * What a template can call: filters, tests, functions and the methods of dicts
 * (those of strings are in jinja_string.c). They do what Jinja's and Python's of
 * the same name do, with the limits that jinja.h names.
 */
#include "jinja_int.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "runtime/util/overflow.h"

#define MAX_RANGE 100000

/* ------------------------------------------------------------- arguments */

/* Number of the parameter called name in "a,b,c", or -1. */
static int find_param(const char *params, const struct linnet_str *name)
{
	for (int i = 0; *params; i++) {
		size_t n = strcspn(params, ",");

		if (n == name->n && !memcmp(params, name->p, n))
			return i;
		params += n + (params[n] == ',');
	}
	return -1;
}

int jinja_builtin_call(struct jinja *j, const struct jinja_builtin *f,
		       const struct jinja_value *self, const struct jinja_arg *arg, size_t n,
		       struct jinja_value *out)
{
	struct jinja_call c = { .arg = arg, .n = n };
	size_t n_params = *f->params ? 1 : 0;

	if (*f->params != '*') {
		for (const char *p = f->params; *p; p++)
			n_params += *p == ',';
		for (size_t i = 0; i < n; i++) {
			int k = i;

			if (arg[i].name.p) {
				k = find_param(f->params, &arg[i].name);
				if (k < 0)
					return jinja_error(j, -EINVAL, "%s has no argument '%.*s'",
							   f->name, SHOWN(arg[i].name.n),
							   arg[i].name.p);
			}
			if ((size_t)k >= n_params || c.bound[k])
				return jinja_error(j, -EINVAL, "%s has too many arguments",
						   f->name);
			c.bound[k] = &arg[i].v;
		}
	}
	return f->call(j, self, &c, out);
}

int jinja_want_string(struct jinja *j, const struct jinja_value *v, const char *what)
{
	if (v && v->type == JINJA_STRING)
		return 0;
	return jinja_error(j, -EINVAL, "%s wants a string, not %s", what,
			   v ? jinja_type_name(v) : "nothing");
}

int jinja_want_int(struct jinja *j, const struct jinja_value *v, const char *what, int64_t *out)
{
	if (!v || !jinja_is_integer(v))
		return jinja_error(j, -EINVAL, "%s wants an integer, not %s", what,
				   v ? jinja_type_name(v) : "nothing");
	*out = jinja_as_int(v);
	return 0;
}

static bool flag(const struct jinja_value *v, bool otherwise)
{
	return v ? jinja_is_true(v) : otherwise;
}

/* ------------------------------------------------------- methods of dicts */

/* 0: keys, 1: values, 2: pairs */
static int dict_parts(struct jinja *j, const struct jinja_value *v, int what,
		      struct jinja_value *out)
{
	int ret = jinja_new_list(j, out);

	for (size_t i = 0; i < v->dict->n && !ret; i++) {
		const struct jinja_pair *pair = &v->dict->v[i];
		struct jinja_value part = what ? pair->value : pair->key;

		ret = jinja_work(j, 1);
		if (what == 2 && !ret) {
			ret = jinja_new_list(j, &part);
			if (!ret)
				ret = jinja_append(j, &part, pair->key);
			if (!ret)
				ret = jinja_append(j, &part, pair->value);
			if (!ret)
				part.list->tuple = true;
		}
		if (!ret)
			ret = jinja_append(j, out, part);
	}
	return ret;
}

BUILTIN(dict_keys)
{
	return dict_parts(j, self, 0, out);
}

BUILTIN(dict_values)
{
	return dict_parts(j, self, 1, out);
}

BUILTIN(dict_items)
{
	return dict_parts(j, self, 2, out);
}

BUILTIN(dict_get)
{
	const struct jinja_value *found;

	if (!c->bound[0])
		return jinja_error(j, -EINVAL, "get wants a key");
	found = jinja_dict_find(self->dict, c->bound[0]);
	if (!found)
		found = c->bound[1];
	*out = found ? *found : jinja_none();
	return jinja_work(j, self->dict->n / 8);
}

/* ---------------------------------------------------------------- filters */

BUILTIN(filter_upper)
{
	return jinja_change_case(j, self, JINJA_CASE_UPPER, out);
}

BUILTIN(filter_lower)
{
	return jinja_change_case(j, self, JINJA_CASE_LOWER, out);
}

BUILTIN(filter_title)
{
	return jinja_change_case(j, self, JINJA_CASE_TITLE, out);
}

BUILTIN(filter_capitalize)
{
	return jinja_change_case(j, self, JINJA_CASE_CAPITAL, out);
}

BUILTIN(filter_trim)
{
	struct jinja_value text;
	int ret = jinja_to_string(j, self, &text);

	return ret ? ret : jinja_strip(j, &text, c->bound[0], true, true, out);
}

BUILTIN(filter_length)
{
	switch (self->type) {
	case JINJA_UNDEFINED:
		*out = jinja_int(0);
		return 0;
	case JINJA_STRING:
		*out = jinja_int(jinja_str_length(&self->str));
		return jinja_work(j, self->str.n / 16);
	case JINJA_LIST:
		*out = jinja_int(self->list->n);
		return 0;
	case JINJA_DICT:
		*out = jinja_int(self->dict->n);
		return 0;
	default:
		return jinja_error(j, -EINVAL, "%s has no length", jinja_type_name(self));
	}
}

BUILTIN(filter_string)
{
	return jinja_to_string(j, self, out);
}

BUILTIN(filter_replace)
{
	struct jinja_value text;
	int ret = jinja_to_string(j, self, &text);

	return ret ? ret : jinja_replace(j, &text.str, c->bound[0], c->bound[1], c->bound[2], out);
}

BUILTIN(filter_join)
{
	static const struct linnet_str nothing = { "", 0 };
	struct jinja_list *list;
	int ret = jinja_to_list(j, self, &list);

	if (!ret && c->bound[0])
		ret = jinja_want_string(j, c->bound[0], "join");
	if (!ret && c->bound[1])
		ret = jinja_want_string(j, c->bound[1], "join");
	return ret ? ret : jinja_join(j, list, c->bound[0] ? &c->bound[0]->str : &nothing,
				c->bound[1] ? &c->bound[1]->str : NULL, out);
}

BUILTIN(filter_default)
{
	bool use = self->type == JINJA_UNDEFINED ||
		   (flag(c->bound[1], false) && !jinja_is_true(self));

	if (use)
		*out = c->bound[0] ? *c->bound[0] : jinja_string("", 0);
	else
		*out = *self;
	return 0;
}

BUILTIN(filter_first)
{
	struct jinja_list *list;
	int ret = jinja_to_list(j, self, &list);

	if (!ret)
		*out = list->n ? list->v[0] : jinja_undefined("first element", 13);
	return ret;
}

BUILTIN(filter_last)
{
	struct jinja_list *list;
	int ret = jinja_to_list(j, self, &list);

	if (!ret)
		*out = list->n ? list->v[list->n - 1] : jinja_undefined("last element", 12);
	return ret;
}

/* A list of its own with the elements of v. */
static int copy_list(struct jinja *j, const struct jinja_value *v, struct jinja_value *out)
{
	struct jinja_list *list;
	int ret = jinja_to_list(j, v, &list);

	if (!ret)
		ret = jinja_new_list(j, out);
	for (size_t i = 0; !ret && i < list->n; i++) {
		ret = jinja_work(j, 1);
		if (!ret)
			ret = jinja_append(j, out, list->v[i]);
	}
	return ret;
}

BUILTIN(filter_list)
{
	return copy_list(j, self, out);
}

BUILTIN(filter_items)
{
	if (self->type == JINJA_UNDEFINED)
		return jinja_new_list(j, out);
	if (self->type != JINJA_DICT)
		return jinja_error(j, -EINVAL, "items wants a dict, not %s", jinja_type_name(self));
	return dict_parts(j, self, 2, out);
}

BUILTIN(filter_reverse)
{
	int ret = copy_list(j, self, out);
	struct jinja_list *list = out->list;

	if (ret)
		return ret;
	for (size_t a = 0, b = list->n; a + 1 < b; a++) {
		struct jinja_value v = list->v[a];

		list->v[a] = list->v[--b];
		list->v[b] = v;
	}
	if (self->type == JINJA_STRING)
		return jinja_join(j, list, &(struct linnet_str){ "", 0 }, NULL, out);
	return 0;
}

BUILTIN(filter_tojson)
{
	struct jinja_buf b = { .j = j };
	int64_t indent = -1;

	if (c->bound[0] && c->bound[0]->type != JINJA_NONE) {
		if (jinja_want_int(j, c->bound[0], "tojson", &indent))
			return -EINVAL;
		indent = indent < 0 ? 0 : indent > 64 ? 64 : indent;
	}
	jinja_put_json(&b, self, flag(c->bound[1], false), indent, 0);
	return jinja_buf_string(&b, out);
}

/* Digits with a sign and white space around them; false: it is no integer. */
static bool parse_int(const struct linnet_str *s, int64_t *out)
{
	struct linnet_str t = *s;
	bool negative = false, digits = false;

	while (t.n && jinja_is_space(t.p, 1))
		t.p++, t.n--;
	while (t.n && jinja_is_space(t.p + t.n - 1, 1))
		t.n--;
	if (t.n && (*t.p == '-' || *t.p == '+')) {
		negative = *t.p == '-';
		t.p++, t.n--;
	}
	for (*out = 0; t.n && *t.p >= '0' && *t.p <= '9'; t.p++, t.n--) {
		digits = true;
		if (linnet_mul_overflow(*out, 10, out) ||
		    (negative ? linnet_sub_overflow(*out, *t.p - '0', out) :
		     linnet_add_overflow(*out, *t.p - '0', out)))
			return false;
	}
	return digits && !t.n;
}

static bool parse_float(const struct linnet_str *s, double *out)
{
	char text[64], *end;

	if (!s->n || s->n >= sizeof(text))
		return false;
	memcpy(text, s->p, s->n);
	text[s->n] = '\0';
	*out = strtod(text, &end);
	while (*end && jinja_is_space(end, 1))
		end++;
	return !*end && end != text;
}

BUILTIN(filter_int)
{
	const struct jinja_value zero = jinja_int(0);
	int64_t i;
	double f;

	*out = c->bound[0] ? *c->bound[0] : zero;
	if (jinja_is_integer(self)) {
		*out = jinja_int(jinja_as_int(self));
		return 0;
	}
	if (self->type == JINJA_STRING && parse_int(&self->str, &i)) {
		*out = jinja_int(i);
		return 0;
	}
	f = self->f;
	if ((self->type == JINJA_FLOAT ||
	     (self->type == JINJA_STRING && parse_float(&self->str, &f))) && fabs(f) < 9e18)
		*out = jinja_int(f);
	return 0;
}

BUILTIN(filter_float)
{
	double f = 0;

	if (c->bound[0] && c->bound[0]->type != JINJA_FLOAT && !jinja_is_integer(c->bound[0]))
		return jinja_error(j, -EINVAL, "float wants a number as its default");
	*out = (struct jinja_value){ .type = JINJA_FLOAT };
	if (jinja_is_integer(self))
		out->f = jinja_as_int(self);
	else if (self->type == JINJA_FLOAT)
		out->f = self->f;
	else if (self->type == JINJA_STRING && parse_float(&self->str, &f))
		out->f = f;
	else if (c->bound[0])
		out->f = c->bound[0]->type == JINJA_FLOAT ? c->bound[0]->f :
			 jinja_as_int(c->bound[0]);
	return 0;
}

BUILTIN(filter_abs)
{
	if (self->type == JINJA_FLOAT) {
		*out = *self;
		out->f = fabs(self->f);
		return 0;
	}
	if (!jinja_is_integer(self) || jinja_as_int(self) == INT64_MIN)
		return jinja_error(j, -EINVAL, "abs wants a number, not %s", jinja_type_name(self));
	*out = jinja_int(jinja_as_int(self) < 0 ? -jinja_as_int(self) : jinja_as_int(self));
	return 0;
}

BUILTIN(filter_round)
{
	int64_t digits = 0;
	double f, scale;

	if (self->type != JINJA_FLOAT && !jinja_is_integer(self))
		return jinja_error(j, -EINVAL, "round wants a number, not %s",
				   jinja_type_name(self));
	if (c->bound[0] && jinja_want_int(j, c->bound[0], "round", &digits))
		return -EINVAL;
	if (digits < -300 || digits > 300)
		return jinja_error(j, -EINVAL, "round to more than 300 digits");
	f = self->type == JINJA_FLOAT ? self->f : jinja_as_int(self);
	scale = pow(10, digits);
	if (!c->bound[1] && jinja_is_integer(self) && digits >= 0) {
		*out = *self;
		return 0;
	}
	if (!c->bound[1] || (c->bound[1]->type == JINJA_STRING &&
			     jinja_is_name(&c->bound[1]->str, "common")))
		f = rint(f * scale) / scale;
	else if (c->bound[1]->type == JINJA_STRING && jinja_is_name(&c->bound[1]->str, "ceil"))
		f = ceil(f * scale) / scale;
	else if (c->bound[1]->type == JINJA_STRING && jinja_is_name(&c->bound[1]->str, "floor"))
		f = floor(f * scale) / scale;
	else
		return jinja_error(j, -EINVAL, "round wants common, ceil or floor");
	*out = (struct jinja_value){ .type = JINJA_FLOAT, .f = f };
	return 0;
}

BUILTIN(filter_indent)
{
	struct jinja_buf b = { .j = j };
	struct jinja_value text, by = jinja_string("    ", 4);
	char spaces[64];
	int64_t width = 0;
	size_t at = 0;
	int ret = jinja_to_string(j, self, &text);

	if (ret)
		return ret;
	if (c->bound[0] && c->bound[0]->type == JINJA_STRING) {
		by = *c->bound[0];
	} else if (c->bound[0]) {
		if (jinja_want_int(j, c->bound[0], "indent", &width))
			return -EINVAL;
		memset(spaces, ' ', sizeof(spaces));
		if (width < 0 || width > (int64_t)sizeof(spaces))
			return jinja_error(j, -EINVAL, "indent by 0 to %zu", sizeof(spaces));
		by = jinja_string(spaces, width);
	}
	while (!b.ret) {
		const char *end = memchr(text.str.p + at, '\n', text.str.n - at);
		size_t stop = end ? (size_t)(end - text.str.p) : text.str.n;

		if (at ? (stop > at || flag(c->bound[2], false)) : flag(c->bound[1], false))
			jinja_put(&b, by.str.p, by.str.n);
		jinja_put(&b, text.str.p + at, stop - at);
		if (!end)
			break;
		jinja_puts(&b, "\n");
		if (!b.ret)
			b.ret = jinja_work(j, 1);
		at = stop + 1;
	}
	return jinja_buf_string(&b, out);
}

BUILTIN(filter_escape)
{
	static const char *const entities[][2] = {
		{ "&", "&amp;" }, { "<", "&lt;" }, { ">", "&gt;" }, { "'", "&#39;" },
		{ "\"", "&#34;" },
	};
	struct jinja_value text;
	int ret = jinja_to_string(j, self, &text);

	for (size_t i = 0; i < sizeof(entities) / sizeof(entities[0]) && !ret; i++) {
		struct jinja_value from = jinja_string(entities[i][0], 1);
		struct jinja_value to = jinja_string(entities[i][1], strlen(entities[i][1]));

		ret = jinja_replace(j, &text.str, &from, &to, NULL, &text);
	}
	*out = text;
	return ret;
}

/* v.a.b for "a.b", and v[0] for 0 */
static int get_path(struct jinja *j, const struct jinja_value *v, const struct jinja_value *path,
		    struct jinja_value *out)
{
	struct linnet_str rest = path->str;

	*out = *v;
	if (path->type == JINJA_INT)
		return jinja_item(j, v, path, out);
	if (path->type != JINJA_STRING)
		return jinja_error(j, -EINVAL, "an attribute is a name, not %s",
				   jinja_type_name(path));
	for (;;) {
		const char *dot = memchr(rest.p, '.', rest.n);
		struct jinja_value from = *out, key;
		int ret;

		key = jinja_string(rest.p, dot ? (size_t)(dot - rest.p) : rest.n);
		/* Items go first, unlike in a template: d.items may be a key. */
		ret = jinja_item(j, &from, &key, out);
		if (!ret)
			ret = jinja_work(j, 1);
		if (ret || !dot)
			return ret;
		rest.n -= dot + 1 - rest.p;
		rest.p = dot + 1;
	}
}

/* map, select and reject take what is not there for an empty list. */
static int optional_list(struct jinja *j, const struct jinja_value *v, struct jinja_list **out)
{
	struct jinja_value empty;
	int ret;

	if (jinja_is_true(v))
		return jinja_to_list(j, v, out);
	ret = jinja_new_list(j, &empty);
	if (!ret)
		*out = empty.list;
	return ret;
}

BUILTIN(filter_map)
{
	const struct jinja_builtin *f = NULL;
	const struct jinja_value *path = NULL, *otherwise = NULL;
	struct jinja_list *list;
	int ret = optional_list(j, self, &list);

	if (ret)
		return ret;
	for (size_t i = 0; i < c->n; i++) {
		if (c->arg[i].name.p && jinja_is_name(&c->arg[i].name, "attribute"))
			path = &c->arg[i].v;
		else if (c->arg[i].name.p && jinja_is_name(&c->arg[i].name, "default"))
			otherwise = &c->arg[i].v;
	}
	if (!path) {
		if (!c->n || c->arg[0].name.p || jinja_want_string(j, &c->arg[0].v, "map"))
			return jinja_error(j, -EINVAL, "map wants a filter or attribute=");
		f = jinja_find_filter(&c->arg[0].v.str);
		if (!f)
			return jinja_error(j, -ENOTSUP, "filter '%.*s' is not supported",
					   SHOWN(c->arg[0].v.str.n), c->arg[0].v.str.p);
	}
	if (++j->depth > JINJA_MAX_DEPTH)
		return jinja_error(j, -E2BIG, "nested more than %d deep", JINJA_MAX_DEPTH);
	ret = jinja_new_list(j, out);
	for (size_t i = 0; i < list->n && !ret; i++) {
		struct jinja_value v, result;

		if (path) {
			ret = get_path(j, &list->v[i], path, &result);
			if (otherwise && result.type == JINJA_UNDEFINED)
				result = *otherwise;
		} else {
			v = list->v[i];
			ret = jinja_builtin_call(j, f, &v, c->arg + 1, c->n - 1, &result);
		}
		if (!ret)
			ret = jinja_work(j, 1);
		if (!ret)
			ret = jinja_append(j, out, result);
	}
	j->depth--;
	return ret;
}

/* select, reject, and with an attribute selectattr, rejectattr */
static int choose(struct jinja *j, const struct jinja_value *self, const struct jinja_call *c,
		  bool attr, bool wanted, struct jinja_value *out)
{
	const struct jinja_builtin *test = NULL;
	struct jinja_list *list;
	size_t skip = attr;
	int ret = optional_list(j, self, &list);

	if (ret)
		return ret;
	if (attr && (!c->n || c->arg[0].name.p))
		return jinja_error(j, -EINVAL, "selectattr and rejectattr want an attribute");
	if (c->n > skip) {
		if (jinja_want_string(j, &c->arg[skip].v, "a filter with a test"))
			return -EINVAL;
		test = jinja_find_test(&c->arg[skip].v.str);
		if (!test)
			return jinja_error(j, -ENOTSUP, "test '%.*s' is not supported",
					   SHOWN(c->arg[skip].v.str.n),
					   c->arg[skip].v.str.p);
		skip++;
	}
	ret = jinja_new_list(j, out);
	for (size_t i = 0; i < list->n && !ret; i++) {
		struct jinja_value v = list->v[i], yes;

		if (attr)
			ret = get_path(j, &list->v[i], &c->arg[0].v, &v);
		yes = jinja_bool(jinja_is_true(&v));
		if (test && !ret)
			ret = jinja_builtin_call(j, test, &v, c->arg + skip, c->n - skip, &yes);
		if (!ret)
			ret = jinja_work(j, 1);
		if (!ret && yes.b == wanted)
			ret = jinja_append(j, out, list->v[i]);
	}
	return ret;
}

BUILTIN(filter_select)
{
	return choose(j, self, c, false, true, out);
}

BUILTIN(filter_reject)
{
	return choose(j, self, c, false, false, out);
}

BUILTIN(filter_selectattr)
{
	return choose(j, self, c, true, true, out);
}

BUILTIN(filter_rejectattr)
{
	return choose(j, self, c, true, false, out);
}

/* What to compare of v: an attribute of it, a string in lower case. */
static int sort_key(struct jinja *j, const struct jinja_value *v, const struct jinja_value *attr,
		    bool case_sensitive, struct jinja_value *out)
{
	int ret = 0;

	*out = *v;
	if (attr && attr->type != JINJA_NONE)
		ret = get_path(j, v, attr, out);
	if (!ret && out->type == JINJA_STRING && !case_sensitive)
		ret = jinja_change_case(j, out, JINJA_CASE_LOWER, out);
	return ret;
}

struct keyed {
	struct jinja_value key, value;
};

static int merge_sort(struct jinja *j, struct keyed *v, struct keyed *spare, size_t n, bool reverse)
{
	size_t half = n / 2, a = 0, b = half;
	int ret = 0, order;

	if (n < 2)
		return 0;
	ret = merge_sort(j, v, spare, half, reverse);
	if (!ret)
		ret = merge_sort(j, v + half, spare, n - half, reverse);
	for (size_t i = 0; i < n && !ret; i++) {
		order = 0;
		if (a < half && b < n) {
			ret = jinja_work(j, 1);
			if (!ret)
				ret = jinja_order(j, &v[a].key, &v[b].key, &order);
		}
		if (b == n || (a < half && (reverse ? order >= 0 : order <= 0)))
			spare[i] = v[a++];
		else
			spare[i] = v[b++];
	}
	if (!ret)
		memcpy(v, spare, n * sizeof(*v));
	return ret;
}

static int sort_list(struct jinja *j, struct jinja_list *list, const struct jinja_value *attr,
		     bool case_sensitive, bool reverse)
{
	struct keyed *v = jinja_alloc(j, 2 * list->n, sizeof(*v));
	int ret = v ? 0 : -ENOMEM;

	for (size_t i = 0; i < list->n && !ret; i++) {
		v[i].value = list->v[i];
		ret = sort_key(j, &list->v[i], attr, case_sensitive, &v[i].key);
	}
	if (!ret)
		ret = merge_sort(j, v, v + list->n, list->n, reverse);
	for (size_t i = 0; i < list->n && !ret; i++)
		list->v[i] = v[i].value;
	return ret;
}

BUILTIN(filter_sort)
{
	int ret = copy_list(j, self, out);

	return ret ? ret : sort_list(j, out->list, c->bound[2], flag(c->bound[1], false),
				     flag(c->bound[0], false));
}

BUILTIN(filter_dictsort)
{
	struct jinja_value by = jinja_int(0);
	int ret;

	if (self->type != JINJA_DICT)
		return jinja_error(j, -EINVAL, "dictsort wants a dict, not %s",
				   jinja_type_name(self));
	if (c->bound[1]) {
		if (jinja_want_string(j, c->bound[1], "dictsort"))
			return -EINVAL;
		by.i = jinja_is_name(&c->bound[1]->str, "value");
	}
	ret = dict_parts(j, self, 2, out);
	return ret ? ret : sort_list(j, out->list, &by, flag(c->bound[0], false),
				     flag(c->bound[2], false));
}

BUILTIN(filter_unique)
{
	struct jinja_list *list;
	struct jinja_value keys, key;
	int ret = jinja_to_list(j, self, &list);
	bool seen;

	if (!ret)
		ret = jinja_new_list(j, out);
	if (!ret)
		ret = jinja_new_list(j, &keys);
	for (size_t i = 0; !ret && i < list->n; i++) {
		ret = sort_key(j, &list->v[i], c->bound[1], flag(c->bound[0], false), &key);
		if (!ret)
			ret = jinja_contains(j, &keys, &key, &seen);
		if (!ret && !seen)
			ret = jinja_append(j, &keys, key);
		if (!ret && !seen)
			ret = jinja_append(j, out, list->v[i]);
	}
	return ret;
}

static int extreme(struct jinja *j, const struct jinja_value *self, const struct jinja_call *c,
		   int sign, struct jinja_value *out)
{
	struct jinja_value best, key;
	struct jinja_list *list;
	int order = 0, ret = jinja_to_list(j, self, &list);

	*out = jinja_undefined("list element", 12);
	for (size_t i = 0; !ret && i < list->n; i++) {
		ret = sort_key(j, &list->v[i], c->bound[1], flag(c->bound[0], false), &key);
		if (!ret)
			ret = jinja_work(j, 1);
		if (!ret && i)
			ret = jinja_order(j, &key, &best, &order);
		if (!i || order * sign > 0) {
			best = key;
			*out = list->v[i];
		}
	}
	return ret;
}

BUILTIN(filter_min)
{
	return extreme(j, self, c, -1, out);
}

BUILTIN(filter_max)
{
	return extreme(j, self, c, 1, out);
}

BUILTIN(filter_sum)
{
	struct jinja_value total = c->bound[1] ? *c->bound[1] : jinja_int(0), v;
	struct jinja_list *list;
	int ret = jinja_to_list(j, self, &list);

	for (size_t i = 0; !ret && i < list->n; i++) {
		v = list->v[i];
		if (c->bound[0] && c->bound[0]->type != JINJA_NONE)
			ret = get_path(j, &list->v[i], c->bound[0], &v);
		if (!ret)
			ret = jinja_work(j, 1);
		if (ret)
			break;
		if (jinja_is_integer(&v) && jinja_is_integer(&total)) {
			int64_t sum;

			if (linnet_add_overflow(jinja_as_int(&v), jinja_as_int(&total), &sum))
				return jinja_error(j, -EINVAL, "a sum needs more than 64 bits");
			total = jinja_int(sum);
		} else if ((jinja_is_integer(&v) || v.type == JINJA_FLOAT) &&
			   (jinja_is_integer(&total) || total.type == JINJA_FLOAT)) {
			double a = v.type == JINJA_FLOAT ? v.f : jinja_as_int(&v);
			double b = total.type == JINJA_FLOAT ? total.f : jinja_as_int(&total);

			total = (struct jinja_value){ .type = JINJA_FLOAT, .f = a + b };
		} else {
			ret = jinja_error(j, -EINVAL, "sum wants numbers, not %s",
					  jinja_type_name(&v));
		}
	}
	*out = total;
	return ret;
}

static const struct jinja_builtin filters[] = {
	{ "abs", "", filter_abs },
	{ "capitalize", "", filter_capitalize },
	{ "count", "", filter_length },
	{ "d", "default_value,boolean", filter_default },
	{ "default", "default_value,boolean", filter_default },
	{ "dictsort", "case_sensitive,by,reverse", filter_dictsort },
	{ "e", "", filter_escape },
	{ "escape", "", filter_escape },
	{ "first", "", filter_first },
	{ "float", "default", filter_float },
	{ "indent", "width,first,blank", filter_indent },
	{ "int", "default", filter_int },
	{ "items", "", filter_items },
	{ "join", "d,attribute", filter_join },
	{ "last", "", filter_last },
	{ "length", "", filter_length },
	{ "list", "", filter_list },
	{ "lower", "", filter_lower },
	{ "map", "*", filter_map },
	{ "max", "case_sensitive,attribute", filter_max },
	{ "min", "case_sensitive,attribute", filter_min },
	{ "reject", "*", filter_reject },
	{ "rejectattr", "*", filter_rejectattr },
	{ "replace", "old,new,count", filter_replace },
	{ "reverse", "", filter_reverse },
	{ "round", "precision,method", filter_round },
	{ "safe", "", filter_string },
	{ "select", "*", filter_select },
	{ "selectattr", "*", filter_selectattr },
	{ "sort", "reverse,case_sensitive,attribute", filter_sort },
	{ "string", "", filter_string },
	{ "sum", "attribute,start", filter_sum },
	{ "title", "", filter_title },
	{ "tojson", "indent,ensure_ascii", filter_tojson },
	{ "trim", "chars", filter_trim },
	{ "unique", "case_sensitive,attribute", filter_unique },
	{ "upper", "", filter_upper },
};

/* ------------------------------------------------------------------ tests */

#define TEST(fn, expr) BUILTIN(fn) { *out = jinja_bool(expr); return 0; }

TEST(test_defined, self->type != JINJA_UNDEFINED)
TEST(test_undefined, self->type == JINJA_UNDEFINED)
TEST(test_none, self->type == JINJA_NONE)
TEST(test_string, self->type == JINJA_STRING)
TEST(test_mapping, self->type == JINJA_DICT)
TEST(test_boolean, self->type == JINJA_BOOL)
TEST(test_integer, self->type == JINJA_INT)
TEST(test_float, self->type == JINJA_FLOAT)
TEST(test_number, jinja_is_integer(self) || self->type == JINJA_FLOAT)
TEST(test_true, self->type == JINJA_BOOL && self->b)
TEST(test_false, self->type == JINJA_BOOL && !self->b)
/* An undefined value has no elements, but can be asked for them. */
TEST(test_iterable, self->type == JINJA_UNDEFINED || self->type == JINJA_STRING ||
     self->type == JINJA_LIST || self->type == JINJA_DICT)
TEST(test_sequence, self->type == JINJA_UNDEFINED || self->type == JINJA_STRING ||
     self->type == JINJA_LIST || self->type == JINJA_DICT)
TEST(test_callable, self->type == JINJA_MACRO || self->type == JINJA_FUNCTION ||
     self->type == JINJA_METHOD)

BUILTIN(test_odd)
{
	int64_t i = 0;
	int ret = jinja_want_int(j, self, "odd", &i);

	*out = jinja_bool(!ret && i % 2);
	return ret;
}

BUILTIN(test_even)
{
	int64_t i = 0;
	int ret = jinja_want_int(j, self, "even", &i);

	*out = jinja_bool(!ret && !(i % 2));
	return ret;
}

BUILTIN(test_divisibleby)
{
	int64_t i = 0, by = 0;

	if (jinja_want_int(j, self, "divisibleby", &i) ||
	    jinja_want_int(j, c->bound[0], "divisibleby", &by))
		return -EINVAL;
	if (!by)
		return jinja_error(j, -EINVAL, "division by zero");
	*out = jinja_bool(by == -1 || !(i % by));
	return 0;
}

/* All letters are of one case, and there are some. */
static int test_case(struct jinja *j, const struct jinja_value *self, enum jinja_case is,
		     enum jinja_case other, struct jinja_value *out)
{
	struct jinja_value text, same, changed;
	int ret = jinja_to_string(j, self, &text);

	if (!ret)
		ret = jinja_change_case(j, &text, is, &same);
	if (!ret)
		ret = jinja_change_case(j, &text, other, &changed);
	*out = jinja_bool(!ret && !memcmp(text.str.p, same.str.p, text.str.n) &&
			  memcmp(text.str.p, changed.str.p, text.str.n));
	return ret;
}

BUILTIN(test_lower)
{
	return test_case(j, self, JINJA_CASE_LOWER, JINJA_CASE_UPPER, out);
}

BUILTIN(test_upper)
{
	return test_case(j, self, JINJA_CASE_UPPER, JINJA_CASE_LOWER, out);
}

static int want_other(struct jinja *j, const struct jinja_call *c)
{
	return c->bound[0] ? 0 : jinja_error(j, -EINVAL, "a test wants something to compare with");
}

BUILTIN(test_eq)
{
	bool yes = false;
	int ret = want_other(j, c);

	if (!ret)
		ret = jinja_equal(j, self, c->bound[0], &yes);
	*out = jinja_bool(yes);
	return ret;
}

BUILTIN(test_ne)
{
	int ret = test_eq(j, self, c, out);

	out->b = !out->b;
	return ret;
}

BUILTIN(test_sameas)
{
	int ret = test_eq(j, self, c, out);

	if (!ret)
		out->b = out->b && self->type == c->bound[0]->type;
	return ret;
}

BUILTIN(test_in)
{
	bool yes = false;
	int ret = want_other(j, c);

	if (!ret)
		ret = jinja_contains(j, c->bound[0], self, &yes);
	*out = jinja_bool(yes);
	return ret;
}

static int test_order(struct jinja *j, const struct jinja_value *self, const struct jinja_call *c,
		      int *order)
{
	int ret = want_other(j, c);

	*order = 0;
	return ret ? ret : jinja_order(j, self, c->bound[0], order);
}

#define ORDER_TEST(fn, expr) \
	BUILTIN(fn) \
	{ \
		int order, ret = test_order(j, self, c, &order); \
\
		*out = jinja_bool(expr); \
		return ret; \
	}

ORDER_TEST(test_lt, order < 0)
ORDER_TEST(test_le, order <= 0)
ORDER_TEST(test_gt, order > 0)
ORDER_TEST(test_ge, order >= 0)

static const struct jinja_builtin tests[] = {
	{ "boolean", "", test_boolean },
	{ "callable", "", test_callable },
	{ "defined", "", test_defined },
	{ "divisibleby", "num", test_divisibleby },
	{ "eq", "other", test_eq },
	{ "equalto", "other", test_eq },
	{ "==", "other", test_eq },
	{ "even", "", test_even },
	{ "false", "", test_false },
	{ "float", "", test_float },
	{ "ge", "other", test_ge },
	{ ">=", "other", test_ge },
	{ "gt", "other", test_gt },
	{ "greaterthan", "other", test_gt },
	{ ">", "other", test_gt },
	{ "in", "seq", test_in },
	{ "integer", "", test_integer },
	{ "iterable", "", test_iterable },
	{ "le", "other", test_le },
	{ "<=", "other", test_le },
	{ "lower", "", test_lower },
	{ "lt", "other", test_lt },
	{ "lessthan", "other", test_lt },
	{ "<", "other", test_lt },
	{ "mapping", "", test_mapping },
	{ "ne", "other", test_ne },
	{ "!=", "other", test_ne },
	{ "none", "", test_none },
	{ "number", "", test_number },
	{ "odd", "", test_odd },
	{ "sameas", "other", test_sameas },
	{ "sequence", "", test_sequence },
	{ "string", "", test_string },
	{ "true", "", test_true },
	{ "undefined", "", test_undefined },
	{ "upper", "", test_upper },
};

/* -------------------------------------------------------------- functions */

BUILTIN(function_range)
{
	int64_t part[3] = { 0, 0, 1 }, count;
	int ret;

	if (!c->n || c->n > 3)
		return jinja_error(j, -EINVAL, "range wants one to three integers");
	for (size_t i = 0; i < c->n; i++) {
		if (jinja_want_int(j, &c->arg[i].v, "range", &part[c->n == 1 ? 1 : i]))
			return -EINVAL;
	}
	if (!part[2])
		return jinja_error(j, -EINVAL, "range with a step of zero");
	ret = jinja_new_list(j, out);
	for (count = 0; !ret && (part[2] > 0 ? part[0] < part[1] : part[0] > part[1]); count++) {
		if (count == MAX_RANGE)
			return jinja_error(j, -E2BIG, "a range of more than %d", MAX_RANGE);
		ret = jinja_work(j, 1);
		if (!ret)
			ret = jinja_append(j, out, jinja_int(part[0]));
		if (linnet_add_overflow(part[0], part[2], &part[0]))
			break;
	}
	return ret;
}

static int make_dict(struct jinja *j, const struct jinja_call *c, struct jinja_value *out)
{
	int ret = jinja_new_dict(j, out);

	for (size_t i = 0; i < c->n && !ret; i++) {
		const struct jinja_arg *arg = &c->arg[i];

		if (arg->name.p) {
			ret = jinja_insert(j, out, jinja_string(arg->name.p, arg->name.n), arg->v);
		} else if (arg->v.type == JINJA_DICT) {
			for (size_t k = 0; k < arg->v.dict->n && !ret; k++)
				ret = jinja_insert(j, out, arg->v.dict->v[k].key,
						   arg->v.dict->v[k].value);
		} else {
			ret = jinja_error(j, -EINVAL, "a dict is not made of %s",
					  jinja_type_name(&arg->v));
		}
	}
	return ret;
}

BUILTIN(function_dict)
{
	return make_dict(j, c, out);
}

BUILTIN(function_namespace)
{
	int ret = make_dict(j, c, out);

	out->type = JINJA_NAMESPACE;
	return ret;
}

BUILTIN(function_raise)
{
	struct jinja_value text;
	int ret;

	if (!c->bound[0])
		return jinja_error(j, -EINVAL, "the template refuses its input");
	ret = jinja_to_string(j, c->bound[0], &text);
	return ret ? ret : jinja_error(j, -EINVAL, "%.*s",
				       (int)(text.str.n < 300 ? text.str.n : 300), text.str.p);
}

BUILTIN(function_strftime)
{
	char format[128], text[512];
	time_t now = time(NULL);
	struct tm tm;

	if (jinja_want_string(j, c->bound[0], "strftime_now"))
		return -EINVAL;
	if (c->bound[0]->str.n >= sizeof(format))
		return jinja_error(j, -E2BIG, "a date format of %zu bytes", c->bound[0]->str.n);
	memcpy(format, c->bound[0]->str.p, c->bound[0]->str.n);
	format[c->bound[0]->str.n] = '\0';
	if (!localtime_r(&now, &tm))
		return jinja_error(j, -EINVAL, "the date is not known");
	return jinja_copy_string(j, text, strftime(text, sizeof(text), format, &tm), out);
}

static const struct jinja_builtin functions[] = {
	{ "range", "*", function_range },
	{ "dict", "*", function_dict },
	{ "namespace", "*", function_namespace },
	{ "raise_exception", "message", function_raise },
	{ "strftime_now", "format", function_strftime },
};

static const struct jinja_builtin dict_methods[] = {
	{ "get", "key,default", dict_get },
	{ "items", "", dict_items },
	{ "keys", "", dict_keys },
	{ "values", "", dict_values },
};

const struct jinja_builtin *jinja_find(const struct jinja_builtin *table, size_t n,
				       const struct linnet_str *name)
{
	for (size_t i = 0; i < n; i++) {
		if (jinja_is_name(name, table[i].name))
			return &table[i];
	}
	return NULL;
}

#define FIND(table, name) jinja_find(table, sizeof(table) / sizeof((table)[0]), name)

const struct jinja_builtin *jinja_find_filter(const struct linnet_str *name)
{
	return FIND(filters, name);
}

const struct jinja_builtin *jinja_find_test(const struct linnet_str *name)
{
	return FIND(tests, name);
}

const struct jinja_builtin *jinja_find_function(const struct linnet_str *name)
{
	return FIND(functions, name);
}

const struct jinja_builtin *jinja_find_method(enum jinja_type type, const struct linnet_str *name)
{
	if (type == JINJA_STRING)
		return jinja_find_string_method(name);
	if (type == JINJA_DICT)
		return FIND(dict_methods, name);
	return NULL;
}
