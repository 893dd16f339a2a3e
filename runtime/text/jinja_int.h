/* SPDX-License-Identifier: MIT */
/*
 * Inside the Jinja interpreter: its values, its syntax tree and what its files
 * need of one another. jinja_lex.c -> tokens -> jinja_parse.c -> nodes ->
 * jinja_eval.c; jinja_value.c and jinja_builtin.c serve the last.
 */
#ifndef LINNET_TEXT_JINJA_INT_H
#define LINNET_TEXT_JINJA_INT_H

#include "jinja.h"

#include "runtime/util/arena.h"

#define JINJA_MAX_TEMPLATE (1u << 20)
/* Of nested blocks and brackets in the source, and of evaluation. */
#define JINJA_MAX_NESTING 100
#define JINJA_MAX_DEPTH 250
#define JINJA_MAX_STEPS 20000000
#define JINJA_MAX_BYTES ((size_t)64 << 20)

struct jinja_list {
	struct jinja_value *v;
	size_t n, cap;
	bool tuple;
};

struct jinja_pair {
	struct jinja_value key, value;
};

/* In order of insertion; small, so look-ups go through it. */
struct jinja_dict {
	struct jinja_pair *v;
	size_t n, cap;
};

struct jinja_loop {
	const struct jinja_list *items;
	size_t at;
};

/* Arguments of a call: first those without a name. */
struct jinja_arg {
	struct linnet_str name;
	struct jinja_value v;
};

#define JINJA_MAX_BOUND 4

struct jinja_call {
	const struct jinja_arg *arg;
	size_t n;
	/* By the parameters of the builtin; NULL: not given. */
	const struct jinja_value *bound[JINJA_MAX_BOUND];
};

/* A filter, test, method or function. self is what it is applied to. */
struct jinja_builtin {
	const char *name;
	/* Names of the parameters, "a,b"; "*": any, and bound[] is not set. */
	const char *params;
	int (*call)(struct jinja *j, const struct jinja_value *self, const struct jinja_call *c,
		    struct jinja_value *out);
};

struct jinja_method {
	struct jinja_value self;
	const struct jinja_builtin *builtin;
};

/* ------------------------------------------------------------------ tokens */

enum jinja_token_type {
	LEX_END,
	LEX_TEXT,
	LEX_PRINT,		/* {{ */
	LEX_PRINT_END,
	LEX_BLOCK,		/* {% */
	LEX_BLOCK_END,
	LEX_NAME,
	LEX_STRING,
	LEX_INT,
	LEX_FLOAT,
	LEX_OP,
};

#define OP2(a, b) ((a) | (b) << 8)

struct jinja_token {
	uint8_t type;
	uint16_t op;		/* LEX_OP: a character, or OP2() of two */
	uint32_t line;
	union {
		struct linnet_str str;
		int64_t i;
		double f;
	};
};

/* *tokens is malloc()ed; the last one is LEX_END. */
int jinja_lex(struct jinja *j, const char *p, size_t n, struct jinja_token **tokens);

/* -------------------------------------------------------------------- tree */

enum jinja_node_type {
	/* expressions */
	NODE_CONST,	/* value */
	NODE_NAME,	/* str */
	NODE_LIST,	/* list; op: a tuple */
	NODE_DICT,	/* list: key, value, key, ... */
	NODE_ATTR,	/* a.str */
	NODE_ITEM,	/* a[b] */
	NODE_SLICE,	/* a[b:c:d] */
	NODE_CALL,	/* a(list) */
	NODE_ARG,	/* str = a; str.p NULL: no name */
	NODE_FILTER,	/* a | builtin(list); str: its name */
	NODE_TEST,	/* a is builtin(list); op: is not */
	NODE_NEGATIVE,	/* -a */
	NODE_POSITIVE,	/* +a */
	NODE_NOT,
	NODE_AND,
	NODE_OR,
	NODE_BINARY,	/* a op b */
	NODE_COMPARE,	/* a, then list of NODE_COMPARE: op, a */
	NODE_IF_ELSE,	/* b if a else c (or NULL) */
	NODE_CAPTURED,	/* the text of the block it belongs to */
	/* statements */
	NODE_TEXT,	/* str */
	NODE_PRINT,	/* a */
	NODE_IF,	/* a: list, else c: NODE_IF with a == NULL, or another */
	NODE_FOR,	/* for b in a if c: list, else d (its list) */
	NODE_SET,	/* b = a */
	NODE_SET_BLOCK,	/* b = a (of NODE_CAPTURED): list */
	NODE_MACRO,	/* str; b: list of NODE_ARG, with defaults: list */
	NODE_FILTER_BLOCK, /* print a (of NODE_CAPTURED): list */
	NODE_WITH,	/* b: list of NODE_SET: list */
	NODE_BREAK,
	NODE_CONTINUE,
	NODE_BLOCK,	/* list */
};

enum {
	OP_IN = 1,
	OP_NOT_IN,
};

struct jinja_node {
	uint8_t type;
	uint16_t op;
	uint32_t line;
	struct jinja_node *next;	/* in the list of the parent */
	struct jinja_node *a, *b, *c, *d;
	struct jinja_node *list;
	union {
		struct linnet_str str;
		struct jinja_value value;
	};
	const struct jinja_builtin *builtin;
};

/* The tree of a template: a NODE_BLOCK. */
int jinja_parse(struct jinja *j, const struct jinja_token *tokens, struct jinja_node **out);

/* ------------------------------------------------------------------ values */

struct jinja_frame {
	struct jinja_frame *up;
	struct jinja_dict vars;
	const struct jinja_value *captured;
};

struct jinja_macro {
	const struct jinja_node *node;
	struct jinja_frame *frame;	/* where it was defined */
};

/* Text that grows; a failure stays and is found by jinja_buf_string(). */
struct jinja_buf {
	struct jinja *j;
	char *p;
	size_t n, cap;
	int ret;
};

struct jinja {
	const char *name;
	struct linnet_error *err;
	struct linnet_arena arena;
	char *str_top, *str_end;	/* room for strings */
	uint64_t steps;
	unsigned depth;
	uint32_t line;
	bool no_room;			/* an allocation failed by the bound, not for memory */
	struct jinja_frame globals;
	struct jinja_buf *out;		/* what is printed goes here */
};

/* For "%.*s" in an error. */
#define SHOWN(n) ((int)((n) < 64 ? (n) : 64))

int jinja_error(struct jinja *j, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), cold));
/* Count work; -E2BIG when it was too much. */
int jinja_work(struct jinja *j, size_t n);
/* NULL, and the error is set, when there is no memory or the bound is met. */
void *jinja_alloc(struct jinja *j, size_t n, size_t size);

void jinja_put(struct jinja_buf *b, const char *p, size_t n);
void jinja_puts(struct jinja_buf *b, const char *s);
/* As str() prints it; as repr(); as JSON (indent < 0: on one line;
 * ascii: escapes for all other characters). */
void jinja_put_value(struct jinja_buf *b, const struct jinja_value *v);
void jinja_put_repr(struct jinja_buf *b, const struct jinja_value *v);
void jinja_put_json(struct jinja_buf *b, const struct jinja_value *v, bool ascii, int indent,
		    int level);
/* Make a string of it and free it. */
int jinja_buf_string(struct jinja_buf *b, struct jinja_value *out);

/* v as text: itself, or a new string. */
int jinja_to_string(struct jinja *j, const struct jinja_value *v, struct jinja_value *out);
int jinja_copy_string(struct jinja *j, const char *p, size_t n, struct jinja_value *out);
int jinja_concat(struct jinja *j, const struct jinja_value *a, const struct jinja_value *b,
		 struct jinja_value *out);
/* The elements of v as a list of its own, or v's when it is one; error when it has none. */
int jinja_to_list(struct jinja *j, const struct jinja_value *v, struct jinja_list **out);
const char *jinja_type_name(const struct jinja_value *v);
bool jinja_is_true(const struct jinja_value *v);
bool jinja_is_name(const struct linnet_str *s, const char *name);
int jinja_equal(struct jinja *j, const struct jinja_value *a, const struct jinja_value *b,
		bool *out);
/* *out < 0, 0, > 0; error for types that have no order. */
int jinja_order(struct jinja *j, const struct jinja_value *a, const struct jinja_value *b,
		int *out);
int jinja_contains(struct jinja *j, const struct jinja_value *in, const struct jinja_value *v,
		   bool *out);
struct jinja_value *jinja_dict_find(const struct jinja_dict *d, const struct jinja_value *key);
/* v.name and v[key] */
int jinja_attr(struct jinja *j, const struct jinja_value *v, const struct linnet_str *name,
	       struct jinja_value *out);
int jinja_item(struct jinja *j, const struct jinja_value *v, const struct jinja_value *key,
	       struct jinja_value *out);
struct jinja_value jinja_undefined(const char *p, size_t n);

/* Strings are UTF-8, and their elements characters. */
size_t jinja_char_len(const char *p, size_t n);
size_t jinja_str_length(const struct linnet_str *s);
bool jinja_is_space(const char *p, size_t n);

/* Bind the arguments and call. */
int jinja_builtin_call(struct jinja *j, const struct jinja_builtin *f,
		       const struct jinja_value *self, const struct jinja_arg *arg, size_t n,
		       struct jinja_value *out);
/* NULL: there is none. */
const struct jinja_builtin *jinja_find_filter(const struct linnet_str *name);
const struct jinja_builtin *jinja_find_test(const struct linnet_str *name);
const struct jinja_builtin *jinja_find_function(const struct linnet_str *name);
const struct jinja_builtin *jinja_find_method(enum jinja_type type,
					      const struct linnet_str *name);

const struct jinja_builtin *jinja_find_string_method(const struct linnet_str *name);
const struct jinja_builtin *jinja_find(const struct jinja_builtin *table, size_t n,
				       const struct linnet_str *name);

/* The arguments and results of every builtin. */
#define BUILTIN(fn) \
	static int fn(struct jinja *j, const struct jinja_value *self, const struct jinja_call *c, \
		      struct jinja_value *out)

static inline bool jinja_is_integer(const struct jinja_value *v)
{
	return v->type == JINJA_INT || v->type == JINJA_BOOL;
}

static inline int64_t jinja_as_int(const struct jinja_value *v)
{
	return v->type == JINJA_BOOL ? v->b : v->i;
}

/* -EINVAL and an error that names `what` when v (may be NULL) is none. */
int jinja_want_string(struct jinja *j, const struct jinja_value *v, const char *what);
int jinja_want_int(struct jinja *j, const struct jinja_value *v, const char *what, int64_t *out);

enum jinja_case {
	JINJA_CASE_UPPER,
	JINJA_CASE_LOWER,
	JINJA_CASE_TITLE,	/* as the filter: words start after spaces, - and brackets */
	JINJA_CASE_LETTERS,	/* as the method: after whatever is no letter */
	JINJA_CASE_CAPITAL,
};

int jinja_change_case(struct jinja *j, const struct jinja_value *v, enum jinja_case to,
		      struct jinja_value *out);
/* Take characters off the ends: those in chars, or white space. text is a string. */
int jinja_strip(struct jinja *j, const struct jinja_value *text, const struct jinja_value *chars,
		bool left, bool right, struct jinja_value *out);
int jinja_replace(struct jinja *j, const struct linnet_str *s, const struct jinja_value *from,
		  const struct jinja_value *to, const struct jinja_value *count,
		  struct jinja_value *out);
/* The elements, or an attribute of each, as text with sep between. */
int jinja_join(struct jinja *j, const struct jinja_list *list, const struct linnet_str *sep,
	       const struct linnet_str *attr, struct jinja_value *out);

int jinja_run(struct jinja *j, const struct jinja_node *block);

#endif
