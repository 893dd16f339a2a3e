// SPDX-License-Identifier: MIT
/*
 * Runs the tree of a template. Every node that is visited is counted, and the
 * depth of visits is bounded, so that no template runs long or deep.
 *
 * Names are looked up from the innermost frame outward. Loops (each round) and
 * macros have frames of their own, if has not: what is set in a loop is gone
 * after it, and that is what namespaces are for.
 */
#include "jinja_int.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/util/overflow.h"

#define MAX_REPEAT (16u << 20)

/* What a statement did beside an error; errors are negative. */
enum {
	RUN_BREAK = 1,
	RUN_CONTINUE = 2,
};

static int eval(struct jinja *j, struct jinja_frame *f, const struct jinja_node *node,
		struct jinja_value *out);
static int run_list(struct jinja *j, struct jinja_frame *f, const struct jinja_node *list);

/* -------------------------------------------------------------- expressions */

static int eval_name(struct jinja *j, struct jinja_frame *f, const struct jinja_node *node,
		     struct jinja_value *out)
{
	struct jinja_value key = jinja_string(node->str.p, node->str.n), *found;
	const struct jinja_builtin *function;

	for (; f; f = f->up) {
		if (jinja_work(j, f->vars.n / 8))
			return -E2BIG;
		found = jinja_dict_find(&f->vars, &key);
		if (found) {
			*out = *found;
			return 0;
		}
	}
	function = jinja_find_function(&node->str);
	if (function)
		*out = (struct jinja_value){ .type = JINJA_FUNCTION, .function = function };
	else
		*out = jinja_undefined(node->str.p, node->str.n);
	return 0;
}

static int eval_list(struct jinja *j, struct jinja_frame *f, const struct jinja_node *node,
		     struct jinja_value *out)
{
	struct jinja_value v;
	int ret = jinja_new_list(j, out);

	if (!ret)
		out->list->tuple = node->op;
	for (const struct jinja_node *n = node->list; n && !ret; n = n->next) {
		ret = eval(j, f, n, &v);
		if (!ret)
			ret = jinja_append(j, out, v);
	}
	return ret;
}

static int eval_dict(struct jinja *j, struct jinja_frame *f, const struct jinja_node *node,
		     struct jinja_value *out)
{
	struct jinja_value key, v;
	int ret = jinja_new_dict(j, out);

	for (const struct jinja_node *n = node->list; n && !ret; n = n->next->next) {
		ret = eval(j, f, n, &key);
		if (!ret)
			ret = eval(j, f, n->next, &v);
		if (!ret && (key.type == JINJA_LIST || key.type == JINJA_DICT))
			ret = jinja_error(j, -EINVAL, "%s cannot be a key", jinja_type_name(&key));
		if (!ret)
			ret = jinja_insert(j, out, key, v);
	}
	return ret;
}

/* A part of a slice: absent and none are NULL. */
static int eval_bound(struct jinja *j, struct jinja_frame *f, const struct jinja_node *node,
		      int64_t *value, bool *given)
{
	struct jinja_value v;
	int ret;

	*given = false;
	if (!node)
		return 0;
	ret = eval(j, f, node, &v);
	if (ret || v.type == JINJA_NONE)
		return ret;
	ret = jinja_want_int(j, &v, "a slice", value);
	if (ret)
		return ret;
	*given = true;
	return 0;
}

/* Into [low, high], counted from the end when negative. */
static int64_t clamp(int64_t i, int64_t n, int64_t low, int64_t high)
{
	if (i < 0)
		i = i < -n ? low : i + n;
	return i < low ? low : i > high ? high : i;
}

static int eval_slice(struct jinja *j, struct jinja_frame *f, const struct jinja_node *node,
		      struct jinja_value *out)
{
	int64_t start = 0, stop = 0, step = 1, n;
	bool has_start, has_stop, has_step;
	struct jinja_value v, list;
	struct jinja_list *from;
	int ret = eval(j, f, node->a, &v);

	if (!ret)
		ret = eval_bound(j, f, node->b, &start, &has_start);
	if (!ret)
		ret = eval_bound(j, f, node->c, &stop, &has_stop);
	if (!ret)
		ret = eval_bound(j, f, node->d, &step, &has_step);
	if (ret)
		return ret;
	if (!step)
		return jinja_error(j, -EINVAL, "a slice with a step of zero");
	if (v.type != JINJA_LIST && v.type != JINJA_STRING)
		return jinja_error(j, -EINVAL, "%s has no slices", jinja_type_name(&v));
	ret = jinja_to_list(j, &v, &from);
	if (!ret)
		ret = jinja_new_list(j, &list);
	if (ret)
		return ret;
	n = from->n;
	if (step > 0) {
		start = has_start ? clamp(start, n, 0, n) : 0;
		stop = has_stop ? clamp(stop, n, 0, n) : n;
	} else {
		start = has_start ? clamp(start, n, -1, n - 1) : n - 1;
		stop = has_stop ? clamp(stop, n, -1, n - 1) : -1;
	}
	/* A slice of a string is part of it when it goes forward one by one. */
	if (v.type == JINJA_STRING && step == 1) {
		const char *p = start < n ? from->v[start].str.p : v.str.p + v.str.n;
		const char *end = stop < n ? from->v[stop].str.p : v.str.p + v.str.n;

		*out = jinja_string(p, end > p ? end - p : 0);
		return 0;
	}
	for (int64_t i = start; !ret && (step > 0 ? i < stop : i > stop);) {
		ret = jinja_work(j, 1);
		if (!ret)
			ret = jinja_append(j, &list, from->v[i]);
		if (linnet_add_overflow(i, step, &i))
			break;
	}
	if (!ret && v.type == JINJA_STRING) {
		struct jinja_buf b = { .j = j };

		for (size_t i = 0; i < list.list->n; i++)
			jinja_put(&b, list.list->v[i].str.p, list.list->v[i].str.n);
		return jinja_buf_string(&b, out);
	}
	*out = list;
	return ret;
}

static int eval_args(struct jinja *j, struct jinja_frame *f, const struct jinja_node *list,
		     struct jinja_arg **out, size_t *n)
{
	const struct jinja_node *node;
	int ret = 0;

	*n = 0;
	for (node = list; node; node = node->next)
		++*n;
	*out = *n ? jinja_alloc(j, *n, sizeof(**out)) : NULL;
	if (*n && !*out)
		return -ENOMEM;
	node = list;
	for (size_t i = 0; i < *n && !ret; i++, node = node->next) {
		(*out)[i].name = node->str;
		ret = eval(j, f, node->a, &(*out)[i].v);
	}
	return ret;
}

/* Run a list of statements and take what they print as a string. */
static int capture(struct jinja *j, struct jinja_frame *f, const struct jinja_node *list,
		   struct jinja_value *out)
{
	struct jinja_buf b = { .j = j }, *outer = j->out;
	int ret, done;

	j->out = &b;
	ret = run_list(j, f, list);
	j->out = outer;
	if (ret < 0) {
		free(b.p);
		return ret;
	}
	done = jinja_buf_string(&b, out);
	return done ? done : ret;
}

static int new_frame(struct jinja *j, struct jinja_frame *up, struct jinja_frame **out)
{
	*out = jinja_alloc(j, 1, sizeof(**out));
	if (!*out)
		return -ENOMEM;
	**out = (struct jinja_frame){ .up = up };
	return 0;
}

static int set_name(struct jinja *j, struct jinja_frame *f, const struct linnet_str *name,
		    struct jinja_value v)
{
	struct jinja_value vars = { .type = JINJA_DICT, .dict = &f->vars };

	return jinja_insert(j, &vars, jinja_string(name->p, name->n), v);
}

static int call_macro(struct jinja *j, const struct jinja_macro *macro,
		      const struct jinja_arg *arg, size_t n, struct jinja_value *out)
{
	const struct jinja_node *param;
	struct jinja_frame *f;
	size_t at = 0, used = 0;
	int ret = new_frame(j, macro->frame, &f);

	for (param = macro->node->b; param && !ret; param = param->next, at++) {
		struct jinja_value v = jinja_undefined(param->str.p, param->str.n);
		size_t i;

		for (i = 0; i < n; i++) {
			if (arg[i].name.p ? arg[i].name.n == param->str.n &&
			    !memcmp(arg[i].name.p, param->str.p, param->str.n) : i == at)
				break;
		}
		if (i < n) {
			v = arg[i].v;
			used++;
		} else if (param->a) {
			ret = eval(j, f, param->a, &v);
		}
		if (!ret)
			ret = set_name(j, f, &param->str, v);
	}
	if (!ret && used < n)
		ret = jinja_error(j, -EINVAL, "macro '%.*s' has too many arguments",
				  SHOWN(macro->node->str.n), macro->node->str.p);
	return ret ? ret : capture(j, f, macro->node->list, out);
}

static int eval_call(struct jinja *j, struct jinja_frame *f, const struct jinja_node *node,
		     struct jinja_value *out)
{
	struct jinja_value callee;
	struct jinja_arg *arg;
	size_t n;
	int ret = eval(j, f, node->a, &callee);

	if (!ret)
		ret = eval_args(j, f, node->list, &arg, &n);
	if (ret)
		return ret;
	j->line = node->line;
	switch (callee.type) {
	case JINJA_FUNCTION:
		return jinja_builtin_call(j, callee.function, NULL, arg, n, out);
	case JINJA_METHOD:
		return jinja_builtin_call(j, callee.method->builtin, &callee.method->self, arg, n,
					  out);
	case JINJA_MACRO:
		return call_macro(j, callee.macro, arg, n, out);
	case JINJA_UNDEFINED:
		return jinja_error(j, -ENOTSUP, "'%.*s' is no function or method here",
				   SHOWN(callee.str.n), callee.str.p);
	default:
		return jinja_error(j, -EINVAL, "%s cannot be called", jinja_type_name(&callee));
	}
}

/* a filter or a test */
static int eval_builtin(struct jinja *j, struct jinja_frame *f, const struct jinja_node *node,
			struct jinja_value *out)
{
	struct jinja_value self;
	struct jinja_arg *arg;
	size_t n;
	int ret;

	if (!node->builtin)
		return jinja_error(j, -ENOTSUP, "%s '%.*s' is not supported",
				   node->type == NODE_FILTER ? "filter" : "test",
				   SHOWN(node->str.n), node->str.p);
	ret = eval(j, f, node->a, &self);
	if (!ret)
		ret = eval_args(j, f, node->list, &arg, &n);
	j->line = node->line;
	if (!ret)
		ret = jinja_builtin_call(j, node->builtin, &self, arg, n, out);
	if (!ret && node->type == NODE_TEST && node->op)
		out->b = !out->b;
	return ret;
}

static bool is_number(const struct jinja_value *v)
{
	return jinja_is_integer(v) || v->type == JINJA_FLOAT;
}

static double as_float(const struct jinja_value *v)
{
	return v->type == JINJA_FLOAT ? v->f : jinja_as_int(v);
}

static int power(struct jinja *j, int64_t base, int64_t n, struct jinja_value *out)
{
	int64_t result = 1;

	if (n < 0) {
		*out = (struct jinja_value){ .type = JINJA_FLOAT, .f = pow(base, n) };
		return 0;
	}
	for (; n; n >>= 1) {
		if (n & 1 && linnet_mul_overflow(result, base, &result))
			return jinja_error(j, -EINVAL, "a power needs more than 64 bits");
		if (n > 1 && linnet_mul_overflow(base, base, &base))
			return jinja_error(j, -EINVAL, "a power needs more than 64 bits");
	}
	*out = jinja_int(result);
	return 0;
}

static int arithmetic(struct jinja *j, unsigned op, const struct jinja_value *a,
		      const struct jinja_value *b, struct jinja_value *out)
{
	int64_t x = jinja_as_int(a), y = jinja_as_int(b), i;
	bool overflow = false;

	if (!jinja_is_integer(a) || !jinja_is_integer(b) || op == '/') {
		double p = as_float(a), q = as_float(b), r = 0;

		if ((op == '/' || op == OP2('/', '/') || op == '%') && q == 0)
			return jinja_error(j, -EINVAL, "division by zero");
		switch (op) {
		case '+':
			r = p + q;
			break;
		case '-':
			r = p - q;
			break;
		case '*':
			r = p * q;
			break;
		case '/':
			r = p / q;
			break;
		case OP2('/', '/'):
			r = floor(p / q);
			break;
		case '%':
			r = p - q * floor(p / q);
			break;
		case OP2('*', '*'):
			r = pow(p, q);
			break;
		}
		*out = (struct jinja_value){ .type = JINJA_FLOAT, .f = r };
		return 0;
	}
	switch (op) {
	case '+':
		overflow = linnet_add_overflow(x, y, &i);
		break;
	case '-':
		overflow = linnet_sub_overflow(x, y, &i);
		break;
	case '*':
		overflow = linnet_mul_overflow(x, y, &i);
		break;
	case OP2('*', '*'):
		return power(j, x, y, out);
	default:
		if (!y)
			return jinja_error(j, -EINVAL, "division by zero");
		/* Python rounds down; INT64_MIN / -1 does not fit. */
		if (y == -1) {
			overflow = linnet_sub_overflow(0, x, &i);
			i = op == '%' ? 0 : i;
			overflow = overflow && op != '%';
		} else if (op == '%') {
			i = x % y;
			i += i && (i < 0) != (y < 0) ? y : 0;
		} else {
			i = x / y;
			i -= x % y && (x < 0) != (y < 0);
		}
	}
	if (overflow)
		return jinja_error(j, -EINVAL, "an integer needs more than 64 bits");
	*out = jinja_int(i);
	return 0;
}

static int repeat(struct jinja *j, const struct jinja_value *v, int64_t n, struct jinja_value *out)
{
	struct jinja_buf b = { .j = j };
	int ret;

	if (n > MAX_REPEAT)
		return jinja_error(j, -E2BIG, "repeated more than %u times", MAX_REPEAT);
	if (v->type == JINJA_STRING) {
		for (; n > 0 && v->str.n && !b.ret; n--) {
			jinja_put(&b, v->str.p, v->str.n);
			if (!b.ret)
				b.ret = jinja_work(j, 1);
		}
		return jinja_buf_string(&b, out);
	}
	ret = jinja_new_list(j, out);
	for (; n > 0 && v->list->n && !ret; n--) {
		for (size_t i = 0; i < v->list->n && !ret; i++) {
			ret = jinja_work(j, 1);
			if (!ret)
				ret = jinja_append(j, out, v->list->v[i]);
		}
	}
	return ret;
}

static int add_lists(struct jinja *j, const struct jinja_list *a, const struct jinja_list *b,
		     struct jinja_value *out)
{
	const struct jinja_list *both[] = { a, b };
	int ret = jinja_new_list(j, out);

	for (int k = 0; k < 2; k++) {
		for (size_t i = 0; i < both[k]->n && !ret; i++) {
			ret = jinja_work(j, 1);
			if (!ret)
				ret = jinja_append(j, out, both[k]->v[i]);
		}
	}
	if (!ret)
		out->list->tuple = a->tuple;
	return ret;
}

static int eval_binary(struct jinja *j, struct jinja_frame *f, const struct jinja_node *node,
		       struct jinja_value *out)
{
	struct jinja_value a, b;
	int ret = eval(j, f, node->a, &a);

	if (!ret)
		ret = eval(j, f, node->b, &b);
	if (ret)
		return ret;
	j->line = node->line;
	if (node->op == '~') {
		ret = jinja_to_string(j, &a, &a);
		if (!ret)
			ret = jinja_to_string(j, &b, &b);
		return ret ? ret : jinja_concat(j, &a, &b, out);
	}
	if (is_number(&a) && is_number(&b))
		return arithmetic(j, node->op, &a, &b, out);
	if (node->op == '+' && a.type == JINJA_STRING && b.type == JINJA_STRING)
		return jinja_concat(j, &a, &b, out);
	if (node->op == '+' && a.type == JINJA_LIST && b.type == JINJA_LIST &&
	    a.list->tuple == b.list->tuple)
		return add_lists(j, a.list, b.list, out);
	if (node->op == '*' && jinja_is_integer(&b) &&
	    (a.type == JINJA_STRING || a.type == JINJA_LIST))
		return repeat(j, &a, jinja_as_int(&b), out);
	if (node->op == '*' && jinja_is_integer(&a) &&
	    (b.type == JINJA_STRING || b.type == JINJA_LIST))
		return repeat(j, &b, jinja_as_int(&a), out);
	if (node->op == '%' && a.type == JINJA_STRING)
		return jinja_error(j, -ENOTSUP, "formatting with %% is not supported");
	if (a.type == JINJA_UNDEFINED || b.type == JINJA_UNDEFINED) {
		const struct linnet_str *s = a.type == JINJA_UNDEFINED ? &a.str : &b.str;

		return jinja_error(j, -EINVAL, "'%.*s' is undefined", SHOWN(s->n), s->p);
	}
	return jinja_error(j, -EINVAL, "%c%.*s cannot take %s and %s", node->op & 0xFF,
			   node->op > 0xFF, (char[]){ node->op >> 8 }, jinja_type_name(&a),
			   jinja_type_name(&b));
}

static int compare(struct jinja *j, unsigned op, const struct jinja_value *a,
		   const struct jinja_value *b, bool *yes)
{
	int order = 0, ret;

	switch (op) {
	case OP_IN:
	case OP_NOT_IN:
		ret = jinja_contains(j, b, a, yes);
		if (op == OP_NOT_IN)
			*yes = !*yes;
		return ret;
	case OP2('=', '='):
	case OP2('!', '='):
		ret = jinja_equal(j, a, b, yes);
		if (op == OP2('!', '='))
			*yes = !*yes;
		return ret;
	}
	ret = jinja_order(j, a, b, &order);
	*yes = op == '<' ? order < 0 : op == '>' ? order > 0 :
	       op == OP2('<', '=') ? order <= 0 : order >= 0;
	return ret;
}

static int eval_compare(struct jinja *j, struct jinja_frame *f, const struct jinja_node *node,
			struct jinja_value *out)
{
	struct jinja_value a, b;
	bool yes = true;
	int ret = eval(j, f, node->a, &a);

	/* a < b < c is a < b and b < c */
	for (const struct jinja_node *part = node->list; part && yes && !ret; part = part->next) {
		ret = eval(j, f, part->a, &b);
		j->line = node->line;
		if (!ret)
			ret = compare(j, part->op, &a, &b, &yes);
		a = b;
	}
	*out = jinja_bool(yes);
	return ret;
}

static int eval_sign(struct jinja *j, struct jinja_frame *f, const struct jinja_node *node,
		     struct jinja_value *out)
{
	const struct jinja_value zero = jinja_int(0);
	struct jinja_value v;
	int ret = eval(j, f, node->a, &v);

	if (ret)
		return ret;
	j->line = node->line;
	if (!is_number(&v))
		return jinja_error(j, -EINVAL, "%s has no sign", jinja_type_name(&v));
	if (v.type == JINJA_FLOAT && node->type == NODE_NEGATIVE) {
		v.f = -v.f;
		*out = v;
		return 0;
	}
	return arithmetic(j, node->type == NODE_NEGATIVE ? '-' : '+', &zero, &v, out);
}

static int eval_inner(struct jinja *j, struct jinja_frame *f, const struct jinja_node *node,
		      struct jinja_value *out)
{
	struct jinja_value v, key;
	int ret;

	switch (node->type) {
	case NODE_CONST:
		*out = node->value;
		return 0;
	case NODE_CAPTURED:
		*out = *f->captured;
		return 0;
	case NODE_NAME:
		return eval_name(j, f, node, out);
	case NODE_LIST:
		return eval_list(j, f, node, out);
	case NODE_DICT:
		return eval_dict(j, f, node, out);
	case NODE_SLICE:
		return eval_slice(j, f, node, out);
	case NODE_CALL:
		return eval_call(j, f, node, out);
	case NODE_FILTER:
	case NODE_TEST:
		return eval_builtin(j, f, node, out);
	case NODE_BINARY:
		return eval_binary(j, f, node, out);
	case NODE_COMPARE:
		return eval_compare(j, f, node, out);
	case NODE_NEGATIVE:
	case NODE_POSITIVE:
		return eval_sign(j, f, node, out);
	case NODE_ATTR:
	case NODE_ITEM:
		ret = eval(j, f, node->a, &v);
		if (!ret && node->type == NODE_ITEM)
			ret = eval(j, f, node->b, &key);
		j->line = node->line;
		if (ret)
			return ret;
		return node->type == NODE_ATTR ? jinja_attr(j, &v, &node->str, out) :
		       jinja_item(j, &v, &key, out);
	case NODE_NOT:
		ret = eval(j, f, node->a, &v);
		*out = jinja_bool(!ret && !jinja_is_true(&v));
		return ret;
	case NODE_AND:
	case NODE_OR:
		ret = eval(j, f, node->a, out);
		if (!ret && jinja_is_true(out) == (node->type == NODE_AND))
			ret = eval(j, f, node->b, out);
		return ret;
	case NODE_IF_ELSE:
		ret = eval(j, f, node->a, &v);
		if (ret)
			return ret;
		if (jinja_is_true(&v))
			return eval(j, f, node->b, out);
		if (node->c)
			return eval(j, f, node->c, out);
		*out = jinja_undefined("the other case", 14);
		return 0;
	}
	return jinja_error(j, -EINVAL, "not an expression");
}

static int eval(struct jinja *j, struct jinja_frame *f, const struct jinja_node *node,
		struct jinja_value *out)
{
	int ret;

	j->line = node->line;
	if (j->depth >= JINJA_MAX_DEPTH)
		return jinja_error(j, -E2BIG, "nested more than %d deep", JINJA_MAX_DEPTH);
	ret = jinja_work(j, 1);
	if (ret)
		return ret;
	j->depth++;
	ret = eval_inner(j, f, node, out);
	j->depth--;
	return ret;
}

/* --------------------------------------------------------------- statements */

/* Assign to a name, to an attribute of a namespace, or to several names. */
static int assign(struct jinja *j, struct jinja_frame *f, const struct jinja_node *target,
		  struct jinja_value v)
{
	const struct jinja_node *name;
	struct jinja_value ns;
	struct jinja_list *list;
	size_t i = 0, n = 0;
	int ret;

	if (target->type == NODE_NAME)
		return set_name(j, f, &target->str, v);
	if (target->type == NODE_ATTR) {
		ret = eval(j, f, target->a, &ns);
		if (ret)
			return ret;
		if (ns.type != JINJA_NAMESPACE)
			return jinja_error(j, -EINVAL, "only attributes of namespaces can be set");
		return jinja_insert(j, &ns, jinja_string(target->str.p, target->str.n), v);
	}
	ret = jinja_to_list(j, &v, &list);
	if (ret)
		return ret;
	for (name = target->list; name; name = name->next)
		n++;
	if (n != list->n)
		return jinja_error(j, -EINVAL, "%zu values for %zu names", list->n, n);
	for (name = target->list; name && !ret; name = name->next)
		ret = set_name(j, f, &name->str, list->v[i++]);
	return ret;
}

/* The elements that the condition lets through. */
static int filter_items(struct jinja *j, struct jinja_frame *f, const struct jinja_node *node,
			struct jinja_list **items)
{
	struct jinja_value list, yes;
	struct jinja_frame *inner;
	int ret = jinja_new_list(j, &list);

	for (size_t i = 0; i < (*items)->n && !ret; i++) {
		ret = new_frame(j, f, &inner);
		if (!ret)
			ret = assign(j, inner, node->b, (*items)->v[i]);
		if (!ret)
			ret = eval(j, inner, node->c, &yes);
		if (!ret && jinja_is_true(&yes))
			ret = jinja_append(j, &list, (*items)->v[i]);
	}
	*items = list.list;
	return ret;
}

static int run_for(struct jinja *j, struct jinja_frame *f, const struct jinja_node *node)
{
	static const struct linnet_str loop_name = { "loop", 4 };
	struct jinja_value v;
	struct jinja_list *items;
	struct jinja_frame *inner;
	struct jinja_loop *loop;
	int ret = eval(j, f, node->a, &v);

	if (!ret)
		ret = jinja_to_list(j, &v, &items);
	if (!ret && node->c)
		ret = filter_items(j, f, node, &items);
	if (ret)
		return ret;
	if (!items->n)
		return node->d ? run_list(j, f, node->d->list) : 0;
	loop = jinja_alloc(j, 1, sizeof(*loop));
	if (!loop)
		return -ENOMEM;
	*loop = (struct jinja_loop){ .items = items };
	for (; loop->at < items->n && !ret; loop->at++) {
		ret = jinja_work(j, 1);
		if (!ret)
			ret = new_frame(j, f, &inner);
		if (!ret)
			ret = set_name(j, inner, &loop_name,
				       (struct jinja_value){ .type = JINJA_LOOP, .loop = loop });
		if (!ret)
			ret = assign(j, inner, node->b, items->v[loop->at]);
		if (!ret)
			ret = run_list(j, inner, node->list);
		if (ret == RUN_CONTINUE)
			ret = 0;
	}
	return ret == RUN_BREAK ? 0 : ret;
}

/* A block whose output goes through filters before it is used. */
static int run_block(struct jinja *j, struct jinja_frame *f, const struct jinja_node *node,
		     struct jinja_value *out)
{
	struct jinja_value text;
	struct jinja_frame *inner;
	int ret = new_frame(j, f, &inner);

	if (ret)
		return ret;
	ret = capture(j, inner, node->list, &text);
	if (ret)
		return ret;
	inner->captured = &text;
	return eval(j, inner, node->a, out);
}

static int run_if(struct jinja *j, struct jinja_frame *f, const struct jinja_node *node)
{
	struct jinja_value v;
	int ret;

	for (; node; node = node->c) {
		if (!node->a)
			return run_list(j, f, node->list);
		ret = eval(j, f, node->a, &v);
		if (ret)
			return ret;
		if (jinja_is_true(&v))
			return run_list(j, f, node->list);
	}
	return 0;
}

static int run_with(struct jinja *j, struct jinja_frame *f, const struct jinja_node *node)
{
	struct jinja_frame *inner;
	struct jinja_value v;
	int ret = new_frame(j, f, &inner);

	for (const struct jinja_node *set = node->b; set && !ret; set = set->next) {
		ret = eval(j, f, set->a, &v);
		if (!ret)
			ret = assign(j, inner, set->b, v);
	}
	return ret ? ret : run_list(j, inner, node->list);
}

static int run_macro(struct jinja *j, struct jinja_frame *f, const struct jinja_node *node)
{
	struct jinja_macro *macro = jinja_alloc(j, 1, sizeof(*macro));

	if (!macro)
		return -ENOMEM;
	*macro = (struct jinja_macro){ node, f };
	return set_name(j, f, &node->str,
			(struct jinja_value){ .type = JINJA_MACRO, .macro = macro });
}

static int run_node(struct jinja *j, struct jinja_frame *f, const struct jinja_node *node)
{
	struct jinja_value v;
	int ret;

	switch (node->type) {
	case NODE_TEXT:
		jinja_put(j->out, node->str.p, node->str.n);
		return j->out->ret;
	case NODE_PRINT:
		ret = eval(j, f, node->a, &v);
		if (!ret)
			jinja_put_value(j->out, &v);
		return ret ? ret : j->out->ret;
	case NODE_IF:
		return run_if(j, f, node);
	case NODE_FOR:
		return run_for(j, f, node);
	case NODE_SET:
		ret = eval(j, f, node->a, &v);
		return ret ? ret : assign(j, f, node->b, v);
	case NODE_SET_BLOCK:
		ret = run_block(j, f, node, &v);
		return ret ? ret : assign(j, f, node->b, v);
	case NODE_FILTER_BLOCK:
		ret = run_block(j, f, node, &v);
		if (!ret)
			jinja_put_value(j->out, &v);
		return ret ? ret : j->out->ret;
	case NODE_MACRO:
		return run_macro(j, f, node);
	case NODE_WITH:
		return run_with(j, f, node);
	case NODE_BLOCK:
		return run_list(j, f, node->list);
	case NODE_BREAK:
		return RUN_BREAK;
	case NODE_CONTINUE:
		return RUN_CONTINUE;
	}
	return jinja_error(j, -EINVAL, "not a statement");
}

static int run_list(struct jinja *j, struct jinja_frame *f, const struct jinja_node *list)
{
	int ret = 0;

	if (j->depth >= JINJA_MAX_DEPTH)
		return jinja_error(j, -E2BIG, "nested more than %d deep", JINJA_MAX_DEPTH);
	j->depth++;
	for (; list && !ret; list = list->next) {
		j->line = list->line;
		ret = jinja_work(j, 1);
		if (!ret)
			ret = run_node(j, f, list);
	}
	j->depth--;
	return ret;
}

int jinja_run(struct jinja *j, const struct jinja_node *block)
{
	return run_list(j, &j->globals, block->list);
}
