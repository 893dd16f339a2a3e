// SPDX-License-Identifier: MIT
/*
 * Tokens to a tree, by recursive descent. How strongly operators bind, from weak
 * to strong: if-else, or, and, not, comparisons and in, + -, ~, * / // %, **, then
 * sign, and last . [] () | is. Grammar: https://jinja.palletsprojects.com/templates/
 */
#include "jinja_int.h"

#include <errno.h>
#include <string.h>

struct parser {
	struct jinja *j;
	const struct jinja_token *t;
	unsigned depth;
	unsigned loops;		/* around the current place, within the macro */
	bool in_macro;
};

static int parse_expr(struct parser *p, struct jinja_node **out);
static int parse_unary(struct parser *p, bool filters, struct jinja_node **out);
static int parse_body(struct parser *p, const char *const *ends, struct jinja_node **out);

static int parse_error(struct parser *p, const char *what)
{
	p->j->line = p->t->line;
	return jinja_error(p->j, -EINVAL, "%s", what);
}

static int expected(struct parser *p, const char *what)
{
	static const char *const names[] = {
		[LEX_END] = "the template's end",
		[LEX_TEXT] = "text",
		[LEX_PRINT] = "{{",
		[LEX_PRINT_END] = "}}",
		[LEX_BLOCK] = "{%",
		[LEX_BLOCK_END] = "%}",
		[LEX_STRING] = "a string",
		[LEX_INT] = "a number",
		[LEX_FLOAT] = "a number",
	};
	const struct jinja_token *t = p->t;

	p->j->line = t->line;
	if (t->type == LEX_NAME)
		return jinja_error(p->j, -EINVAL, "%s expected, not '%.*s'", what,
				   SHOWN(t->str.n), t->str.p);
	if (t->type == LEX_OP)
		return jinja_error(p->j, -EINVAL, "%s expected, not '%c%.*s'", what, t->op & 0xFF,
				   t->op > 0xFF, (char[]){ t->op >> 8 });
	return jinja_error(p->j, -EINVAL, "%s expected, not %s", what, names[t->type]);
}

static bool is_op(const struct parser *p, unsigned op)
{
	return p->t->type == LEX_OP && p->t->op == op;
}

static bool is_name(const struct parser *p, const char *name)
{
	return p->t->type == LEX_NAME && jinja_is_name(&p->t->str, name);
}

static bool take_op(struct parser *p, unsigned op)
{
	if (!is_op(p, op))
		return false;
	p->t++;
	return true;
}

static bool take_name(struct parser *p, const char *name)
{
	if (!is_name(p, name))
		return false;
	p->t++;
	return true;
}

static struct jinja_node *new_node(struct parser *p, enum jinja_node_type type,
				   struct jinja_node *a)
{
	struct jinja_node *node = jinja_alloc(p->j, 1, sizeof(*node));

	if (node) {
		memset(node, 0, sizeof(*node));
		node->type = type;
		node->line = p->t->line;
		node->a = a;
	}
	return node;
}

static int enter(struct parser *p)
{
	if (++p->depth > JINJA_MAX_NESTING) {
		p->j->line = p->t->line;
		return jinja_error(p->j, -E2BIG, "nested more than %d deep", JINJA_MAX_NESTING);
	}
	return 0;
}

/* ------------------------------------------------------------- expressions */

/* "a, b=c)": what follows an opening bracket. */
static int parse_args(struct parser *p, struct jinja_node **list)
{
	bool named = false;

	while (!take_op(p, ')')) {
		struct jinja_node *arg = new_node(p, NODE_ARG, NULL);
		int ret;

		if (!arg)
			return -ENOMEM;
		if (is_op(p, '*') || is_op(p, OP2('*', '*'))) {
			p->j->line = p->t->line;
			return jinja_error(p->j, -ENOTSUP,
					   "* and ** for arguments are not supported");
		}
		if (p->t->type == LEX_NAME && p->t[1].type == LEX_OP && p->t[1].op == '=') {
			arg->str = p->t->str;
			p->t += 2;
			named = true;
		} else if (named) {
			return parse_error(p, "an argument without name after one with");
		}
		ret = parse_expr(p, &arg->a);
		if (ret)
			return ret;
		*list = arg;
		list = &arg->next;
		if (!take_op(p, ',') && !is_op(p, ')'))
			return expected(p, "',' or ')'");
	}
	return 0;
}

/* Comma-separated expressions up to `close`, a tuple or list. */
static int parse_items(struct parser *p, unsigned close, struct jinja_node **list)
{
	while (!take_op(p, close)) {
		int ret = parse_expr(p, list);

		if (ret)
			return ret;
		list = &(*list)->next;
		if (!take_op(p, ',') && !is_op(p, close))
			return expected(p, close == ']' ? "',' or ']'" : "',' or ')'");
	}
	return 0;
}

static int parse_dict(struct parser *p, struct jinja_node **list)
{
	while (!take_op(p, '}')) {
		int ret = parse_expr(p, list);

		if (ret)
			return ret;
		if (!take_op(p, ':'))
			return expected(p, "':'");
		list = &(*list)->next;
		ret = parse_expr(p, list);
		if (ret)
			return ret;
		list = &(*list)->next;
		if (!take_op(p, ',') && !is_op(p, '}'))
			return expected(p, "',' or '}'");
	}
	return 0;
}

static int parse_name(struct parser *p, struct jinja_node *node)
{
	static const struct {
		const char *name;
		enum jinja_type type;
		bool b;
	} constants[] = {
		{ "true", JINJA_BOOL, true },	{ "True", JINJA_BOOL, true },
		{ "false", JINJA_BOOL, false },	{ "False", JINJA_BOOL, false },
		{ "none", JINJA_NONE },		{ "None", JINJA_NONE },
	};

	for (size_t i = 0; i < sizeof(constants) / sizeof(constants[0]); i++) {
		if (jinja_is_name(&p->t->str, constants[i].name)) {
			node->type = NODE_CONST;
			node->value.type = constants[i].type;
			node->value.b = constants[i].b;
			p->t++;
			return 0;
		}
	}
	node->type = NODE_NAME;
	node->str = p->t->str;
	p->t++;
	return 0;
}

static int parse_strings(struct parser *p, struct jinja_node *node)
{
	/* Strings side by side are one. */
	node->value = jinja_string(p->t->str.p, p->t->str.n);
	for (p->t++; p->t->type == LEX_STRING; p->t++) {
		struct jinja_value more = jinja_string(p->t->str.p, p->t->str.n);
		int ret = jinja_concat(p->j, &node->value, &more, &node->value);

		if (ret)
			return ret;
	}
	return 0;
}

static int parse_primary(struct parser *p, struct jinja_node **out)
{
	struct jinja_node *node = new_node(p, NODE_CONST, NULL);
	int ret;

	if (!node)
		return -ENOMEM;
	*out = node;
	switch (p->t->type) {
	case LEX_NAME:
		return parse_name(p, node);
	case LEX_STRING:
		return parse_strings(p, node);
	case LEX_INT:
		node->value = jinja_int(p->t->i);
		p->t++;
		return 0;
	case LEX_FLOAT:
		node->value.type = JINJA_FLOAT;
		node->value.f = p->t->f;
		p->t++;
		return 0;
	case LEX_OP:
		break;
	default:
		return expected(p, "an expression");
	}
	if (take_op(p, '[')) {
		node->type = NODE_LIST;
		return parse_items(p, ']', &node->list);
	}
	if (take_op(p, '{')) {
		node->type = NODE_DICT;
		return parse_dict(p, &node->list);
	}
	if (!take_op(p, '('))
		return expected(p, "an expression");
	node->type = NODE_LIST;
	node->op = true;
	if (take_op(p, ')'))
		return 0;
	ret = parse_expr(p, &node->list);
	if (ret)
		return ret;
	if (take_op(p, ')')) {
		*out = node->list;
		return 0;
	}
	if (!take_op(p, ','))
		return expected(p, "',' or ')'");
	return parse_items(p, ')', &node->list->next);
}

/* The inside of a[...]: an index, or up to three parts of a slice. */
static int parse_subscript(struct parser *p, struct jinja_node *node)
{
	struct jinja_node **part[] = { &node->b, &node->c, &node->d };
	unsigned n = 0;

	if (is_op(p, ']'))
		return expected(p, "an index");
	for (;;) {
		if (!is_op(p, ':') && !is_op(p, ']')) {
			int ret = parse_expr(p, part[n]);

			if (ret)
				return ret;
		}
		if (take_op(p, ']'))
			return 0;
		if (n == 2 || !take_op(p, ':'))
			return expected(p, "']'");
		node->type = NODE_SLICE;
		n++;
	}
}

/* a.b, a[b] and a(b), as often as they follow. */
static int parse_postfix(struct parser *p, struct jinja_node **node)
{
	for (;;) {
		struct jinja_node *post = NULL;
		int ret = 0;

		if (is_op(p, '.')) {
			post = new_node(p, NODE_ATTR, *node);
			if (!post)
				return -ENOMEM;
			p->t++;
			if (p->t->type == LEX_INT) {
				/* a.0 is a[0] */
				post->type = NODE_ITEM;
				ret = parse_primary(p, &post->b);
			} else if (p->t->type == LEX_NAME) {
				post->str = p->t++->str;
			} else {
				return expected(p, "a name");
			}
		} else if (is_op(p, '[')) {
			post = new_node(p, NODE_ITEM, *node);
			if (!post)
				return -ENOMEM;
			p->t++;
			ret = parse_subscript(p, post);
		} else if (is_op(p, '(')) {
			post = new_node(p, NODE_CALL, *node);
			if (!post)
				return -ENOMEM;
			p->t++;
			ret = parse_args(p, &post->list);
		} else {
			return 0;
		}
		if (ret)
			return ret;
		*node = post;
	}
}

static int parse_filter(struct parser *p, struct jinja_node **node)
{
	struct jinja_node *filter = new_node(p, NODE_FILTER, *node);

	if (!filter)
		return -ENOMEM;
	if (p->t->type != LEX_NAME)
		return expected(p, "a filter");
	filter->str = p->t++->str;
	filter->builtin = jinja_find_filter(&filter->str);
	*node = filter;
	return take_op(p, '(') ? parse_args(p, &filter->list) : 0;
}

static int parse_test(struct parser *p, struct jinja_node **node)
{
	struct jinja_node *test = new_node(p, NODE_TEST, *node), *arg;
	int ret;

	if (!test)
		return -ENOMEM;
	test->op = take_name(p, "not");
	if (p->t->type != LEX_NAME)
		return expected(p, "a test");
	test->str = p->t++->str;
	test->builtin = jinja_find_test(&test->str);
	*node = test;
	if (take_op(p, '('))
		return parse_args(p, &test->list);
	/* "x is divisibleby 3" */
	if ((p->t->type == LEX_NAME && !is_name(p, "else") && !is_name(p, "or") &&
	     !is_name(p, "and") && !is_name(p, "if") && !is_name(p, "in") && !is_name(p, "not")) ||
	    p->t->type == LEX_STRING || p->t->type == LEX_INT || p->t->type == LEX_FLOAT ||
	    is_op(p, '[') || is_op(p, '{')) {
		if (is_name(p, "is"))
			return parse_error(p, "tests cannot be chained with is");
		arg = new_node(p, NODE_ARG, NULL);
		if (!arg)
			return -ENOMEM;
		test->list = arg;
		ret = parse_primary(p, &arg->a);
		return ret ? ret : parse_postfix(p, &arg->a);
	}
	return 0;
}

/* | and is, and a call of what they give */
static int parse_filters(struct parser *p, struct jinja_node **node)
{
	for (;;) {
		int ret;

		if (take_op(p, '|')) {
			ret = parse_filter(p, node);
		} else if (take_name(p, "is")) {
			ret = parse_test(p, node);
		} else if (is_op(p, '(')) {
			ret = parse_postfix(p, node);
		} else {
			return 0;
		}
		if (ret)
			return ret;
	}
}

static int parse_unary(struct parser *p, bool filters, struct jinja_node **out)
{
	int ret;

	if (is_op(p, '-') || is_op(p, '+')) {
		struct jinja_node *node = new_node(p, is_op(p, '-') ? NODE_NEGATIVE : NODE_POSITIVE,
						   NULL);

		if (!node)
			return -ENOMEM;
		p->t++;
		ret = enter(p);
		if (!ret)
			ret = parse_unary(p, false, &node->a);
		p->depth--;
		*out = node;
	} else {
		ret = parse_primary(p, out);
	}
	if (!ret)
		ret = parse_postfix(p, out);
	if (!ret && filters)
		ret = parse_filters(p, out);
	return ret;
}

/* Binary operators of one strength after another, the strongest last. */
static const uint16_t binary_ops[][5] = {
	{ '+', '-' },
	{ '~' },
	{ '*', '/', OP2('/', '/'), '%' },
	{ OP2('*', '*') },
};

#define N_LEVELS (sizeof(binary_ops) / sizeof(binary_ops[0]))

static int parse_binary(struct parser *p, unsigned level, struct jinja_node **out)
{
	int ret;

	if (level == N_LEVELS)
		return parse_unary(p, true, out);
	ret = parse_binary(p, level + 1, out);
	while (!ret) {
		struct jinja_node *node;
		const uint16_t *op = binary_ops[level];

		while (*op && !is_op(p, *op))
			op++;
		if (!*op)
			return 0;
		node = new_node(p, NODE_BINARY, *out);
		if (!node)
			return -ENOMEM;
		node->op = *op;
		p->t++;
		*out = node;
		ret = parse_binary(p, level + 1, &node->b);
	}
	return ret;
}

static unsigned take_comparison(struct parser *p)
{
	static const uint16_t ops[] = {
		OP2('=', '='), OP2('!', '='), OP2('<', '='), OP2('>', '='), '<', '>',
	};

	for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
		if (take_op(p, ops[i]))
			return ops[i];
	}
	if (take_name(p, "in"))
		return OP_IN;
	if (is_name(p, "not") && p->t[1].type == LEX_NAME && jinja_is_name(&p->t[1].str, "in")) {
		p->t += 2;
		return OP_NOT_IN;
	}
	return 0;
}

static int parse_comparison(struct parser *p, struct jinja_node **out)
{
	struct jinja_node *node = NULL, **last = NULL;
	int ret = parse_binary(p, 0, out);

	while (!ret) {
		struct jinja_node *part = new_node(p, NODE_COMPARE, NULL);
		unsigned op = take_comparison(p);

		if (!op)
			return 0;
		if (!node) {
			node = new_node(p, NODE_COMPARE, *out);
			if (!node)
				return -ENOMEM;
			*out = node;
			last = &node->list;
		}
		if (!part)
			return -ENOMEM;
		part->op = op;
		*last = part;
		last = &part->next;
		ret = parse_binary(p, 0, &part->a);
	}
	return ret;
}

static int parse_not(struct parser *p, struct jinja_node **out)
{
	struct jinja_node *node;
	int ret;

	if (!is_name(p, "not"))
		return parse_comparison(p, out);
	node = new_node(p, NODE_NOT, NULL);
	if (!node)
		return -ENOMEM;
	p->t++;
	*out = node;
	ret = enter(p);
	if (!ret)
		ret = parse_not(p, &node->a);
	p->depth--;
	return ret;
}

static int parse_logic(struct parser *p, bool or, struct jinja_node **out)
{
	int ret = or ? parse_logic(p, false, out) : parse_not(p, out);

	while (!ret && take_name(p, or ? "or" : "and")) {
		struct jinja_node *node = new_node(p, or ? NODE_OR : NODE_AND, *out);

		if (!node)
			return -ENOMEM;
		*out = node;
		ret = or ? parse_logic(p, false, &node->b) : parse_not(p, &node->b);
	}
	return ret;
}

static int parse_expr(struct parser *p, struct jinja_node **out)
{
	int ret = enter(p);

	if (!ret)
		ret = parse_logic(p, true, out);
	while (!ret && take_name(p, "if")) {
		struct jinja_node *node = new_node(p, NODE_IF_ELSE, NULL);

		if (!node)
			return -ENOMEM;
		node->b = *out;
		*out = node;
		ret = parse_logic(p, true, &node->a);
		if (!ret && take_name(p, "else"))
			ret = parse_expr(p, &node->c);
	}
	p->depth--;
	return ret;
}

/* An expression, or several with commas between: then a tuple. */
static int parse_tuple(struct parser *p, bool if_else, struct jinja_node **out)
{
	struct jinja_node *tuple, **last;
	int ret = if_else ? parse_expr(p, out) : parse_logic(p, true, out);

	if (ret || !is_op(p, ','))
		return ret;
	tuple = new_node(p, NODE_LIST, NULL);
	if (!tuple)
		return -ENOMEM;
	tuple->op = true;
	tuple->list = *out;
	last = &tuple->list->next;
	*out = tuple;
	while (take_op(p, ',')) {
		if (p->t->type == LEX_BLOCK_END || p->t->type == LEX_PRINT_END ||
		    (!if_else && is_name(p, "if")))
			break;
		ret = if_else ? parse_expr(p, last) : parse_logic(p, true, last);
		if (ret)
			return ret;
		last = &(*last)->next;
	}
	return 0;
}

/* --------------------------------------------------------------- statements */

/* "a", "a.b" (attr), or "a, b": what is assigned to. */
static int parse_target(struct parser *p, bool attr, struct jinja_node **out)
{
	struct jinja_node *tuple = NULL, **last = out;

	for (;;) {
		struct jinja_node *node = new_node(p, NODE_NAME, NULL);

		if (!node)
			return -ENOMEM;
		if (p->t->type != LEX_NAME)
			return expected(p, "a name");
		if (is_name(p, "true") || is_name(p, "false") || is_name(p, "none") ||
		    is_name(p, "True") || is_name(p, "False") || is_name(p, "None"))
			return parse_error(p, "a constant cannot be assigned to");
		node->str = p->t++->str;
		if (attr && !tuple && is_op(p, '.')) {
			struct jinja_node *ns = node;

			p->t++;
			if (p->t->type != LEX_NAME)
				return expected(p, "a name");
			node = new_node(p, NODE_ATTR, ns);
			if (!node)
				return -ENOMEM;
			node->str = p->t++->str;
			*last = node;
			return 0;
		}
		*last = node;
		last = &node->next;
		if (!is_op(p, ','))
			return 0;
		if (!tuple) {
			tuple = new_node(p, NODE_LIST, NULL);
			if (!tuple)
				return -ENOMEM;
			tuple->list = *out;
			*out = tuple;
			last = &node->next;
		}
		p->t++;
		/* "a, = b" */
		if (p->t->type != LEX_NAME)
			return 0;
	}
}

static int end_tag(struct parser *p)
{
	if (p->t->type != LEX_BLOCK_END)
		return expected(p, "%}");
	p->t++;
	return 0;
}

/* A body up to {% end %}, which is taken. */
static int parse_to_end(struct parser *p, const char *end, struct jinja_node **list)
{
	const char *const ends[] = { end, NULL };
	int ret = parse_body(p, ends, list);

	if (ret)
		return ret;
	p->t++;
	return end_tag(p);
}

static int parse_if(struct parser *p, struct jinja_node *node)
{
	static const char *const ends[] = { "elif", "else", "endif", NULL };

	for (;;) {
		int ret = parse_tuple(p, true, &node->a);

		if (!ret)
			ret = end_tag(p);
		if (!ret)
			ret = parse_body(p, ends, &node->list);
		if (ret)
			return ret;
		if (take_name(p, "endif"))
			return end_tag(p);
		node->c = new_node(p, NODE_IF, NULL);
		if (!node->c)
			return -ENOMEM;
		node = node->c;
		if (!take_name(p, "elif"))
			break;
	}
	p->t++;
	if (end_tag(p))
		return -EINVAL;
	return parse_to_end(p, "endif", &node->list);
}

static int parse_for(struct parser *p, struct jinja_node *node)
{
	static const char *const ends[] = { "else", "endfor", NULL };
	int ret = parse_target(p, false, &node->b);

	if (ret)
		return ret;
	if (!take_name(p, "in"))
		return expected(p, "'in'");
	ret = parse_tuple(p, false, &node->a);
	if (!ret && take_name(p, "if"))
		ret = parse_expr(p, &node->c);
	if (!ret && is_name(p, "recursive")) {
		p->j->line = p->t->line;
		return jinja_error(p->j, -ENOTSUP, "recursive loops are not supported");
	}
	if (!ret)
		ret = end_tag(p);
	if (ret)
		return ret;
	p->loops++;
	ret = parse_body(p, ends, &node->list);
	p->loops--;
	if (ret)
		return ret;
	if (take_name(p, "endfor"))
		return end_tag(p);
	p->t++;
	node->d = new_node(p, NODE_BLOCK, NULL);
	if (!node->d)
		return -ENOMEM;
	if (end_tag(p))
		return -EINVAL;
	return parse_to_end(p, "endfor", &node->d->list);
}

static int parse_set(struct parser *p, struct jinja_node *node)
{
	int ret = parse_target(p, true, &node->b);

	if (ret)
		return ret;
	if (take_op(p, '=')) {
		ret = parse_tuple(p, true, &node->a);
		return ret ? ret : end_tag(p);
	}
	if (node->b->type == NODE_LIST)
		return expected(p, "'='");
	node->type = NODE_SET_BLOCK;
	node->a = new_node(p, NODE_CAPTURED, NULL);
	if (!node->a)
		return -ENOMEM;
	ret = parse_filters(p, &node->a);
	if (!ret)
		ret = end_tag(p);
	return ret ? ret : parse_to_end(p, "endset", &node->list);
}

static int parse_macro(struct parser *p, struct jinja_node *node)
{
	struct jinja_node **last = &node->b;
	unsigned loops = p->loops;
	bool defaults = false;
	int ret;

	if (p->t->type != LEX_NAME)
		return expected(p, "a name");
	node->str = p->t++->str;
	if (!take_op(p, '('))
		return expected(p, "'('");
	while (!take_op(p, ')')) {
		struct jinja_node *arg = new_node(p, NODE_ARG, NULL);

		if (!arg)
			return -ENOMEM;
		if (p->t->type != LEX_NAME)
			return expected(p, "a name");
		arg->str = p->t++->str;
		if (take_op(p, '=')) {
			defaults = true;
			ret = parse_expr(p, &arg->a);
			if (ret)
				return ret;
		} else if (defaults) {
			return parse_error(p, "a parameter without default after one with");
		}
		*last = arg;
		last = &arg->next;
		if (!take_op(p, ',') && !is_op(p, ')'))
			return expected(p, "',' or ')'");
	}
	ret = end_tag(p);
	if (ret)
		return ret;
	p->loops = 0;
	ret = parse_to_end(p, "endmacro", &node->list);
	p->loops = loops;
	return ret;
}

static int parse_filter_block(struct parser *p, struct jinja_node *node)
{
	int ret;

	node->a = new_node(p, NODE_CAPTURED, NULL);
	if (!node->a)
		return -ENOMEM;
	ret = parse_filter(p, &node->a);
	if (!ret)
		ret = parse_filters(p, &node->a);
	if (!ret)
		ret = end_tag(p);
	return ret ? ret : parse_to_end(p, "endfilter", &node->list);
}

static int parse_with(struct parser *p, struct jinja_node *node)
{
	struct jinja_node **last = &node->b;
	int ret;

	while (p->t->type != LEX_BLOCK_END) {
		struct jinja_node *set = new_node(p, NODE_SET, NULL);

		if (!set)
			return -ENOMEM;
		if (last != &node->b && !take_op(p, ','))
			return expected(p, "','");
		set->b = new_node(p, NODE_NAME, NULL);
		if (!set->b)
			return -ENOMEM;
		if (p->t->type != LEX_NAME)
			return expected(p, "a name");
		set->b->str = p->t++->str;
		if (!take_op(p, '='))
			return expected(p, "'='");
		ret = parse_expr(p, &set->a);
		if (ret)
			return ret;
		*last = set;
		last = &set->next;
	}
	p->t++;
	return parse_to_end(p, "endwith", &node->list);
}

static int parse_jump(struct parser *p, struct jinja_node *node)
{
	if (!p->loops)
		return parse_error(p, "break and continue belong in a loop");
	return end_tag(p);
}

/* Marks what the template means to be the model's words; renders as it is. */
static int parse_generation(struct parser *p, struct jinja_node *node)
{
	int ret = end_tag(p);

	return ret ? ret : parse_to_end(p, "endgeneration", &node->list);
}

static const struct {
	const char *name;
	enum jinja_node_type type;
	int (*parse)(struct parser *p, struct jinja_node *node);
} statements[] = {
	{ "if", NODE_IF, parse_if },
	{ "for", NODE_FOR, parse_for },
	{ "set", NODE_SET, parse_set },
	{ "macro", NODE_MACRO, parse_macro },
	{ "filter", NODE_FILTER_BLOCK, parse_filter_block },
	{ "with", NODE_WITH, parse_with },
	{ "break", NODE_BREAK, parse_jump },
	{ "continue", NODE_CONTINUE, parse_jump },
	{ "generation", NODE_BLOCK, parse_generation },
};

static int parse_statement(struct parser *p, struct jinja_node **out)
{
	static const char *const others[] = {
		"call", "include", "import", "from", "extends", "block", "do", "autoescape",
		"trans", "print", "debug",
	};
	size_t i;

	if (p->t->type != LEX_NAME)
		return expected(p, "a statement");
	for (i = 0; i < sizeof(statements) / sizeof(statements[0]); i++) {
		if (is_name(p, statements[i].name))
			break;
	}
	if (i == sizeof(statements) / sizeof(statements[0])) {
		p->j->line = p->t->line;
		for (i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
			if (is_name(p, others[i]))
				return jinja_error(p->j, -ENOTSUP, "{%% %s %%} is not supported",
						   others[i]);
		}
		return expected(p, "a statement");
	}
	*out = new_node(p, statements[i].type, NULL);
	if (!*out)
		return -ENOMEM;
	p->t++;
	return statements[i].parse(p, *out);
}

/*
 * Text, {{ }} and {% %} up to a tag whose name is in ends, whose name is then the
 * current token; ends NULL: up to the template's end.
 */
static int parse_body(struct parser *p, const char *const *ends, struct jinja_node **list)
{
	int ret = enter(p);

	while (!ret) {
		struct jinja_node *node = NULL;

		switch (p->t->type) {
		case LEX_TEXT:
			node = new_node(p, NODE_TEXT, NULL);
			if (!node)
				return -ENOMEM;
			node->str = p->t++->str;
			break;
		case LEX_PRINT:
			p->t++;
			node = new_node(p, NODE_PRINT, NULL);
			if (!node)
				return -ENOMEM;
			ret = parse_tuple(p, true, &node->a);
			if (!ret && p->t->type != LEX_PRINT_END)
				ret = expected(p, "}}");
			p->t++;
			break;
		case LEX_BLOCK:
			p->t++;
			for (size_t i = 0; ends && ends[i]; i++) {
				if (is_name(p, ends[i])) {
					p->depth--;
					return 0;
				}
			}
			ret = parse_statement(p, &node);
			break;
		default:
			p->depth--;
			if (!ends)
				return 0;
			for (size_t i = 0;; i++) {
				if (!ends[i + 1]) {
					char what[32] = "";

					strncat(what, ends[i], sizeof(what) - 1);
					return expected(p, what);
				}
			}
		}
		if (!ret) {
			*list = node;
			list = &node->next;
		}
	}
	p->depth--;
	return ret;
}

int jinja_parse(struct jinja *j, const struct jinja_token *tokens, struct jinja_node **out)
{
	struct parser p = { .j = j, .t = tokens };

	*out = new_node(&p, NODE_BLOCK, NULL);
	return *out ? parse_body(&p, NULL, &(*out)->list) : -ENOMEM;
}
