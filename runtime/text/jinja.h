/* SPDX-License-Identifier: MIT */
/*
 * The part of the Jinja template language that chat templates use, rendered as
 * Hugging Face does (trim_blocks, lstrip_blocks, no autoescape). Templates are
 * untrusted: nesting, steps, memory and output are bounded, and nothing outside
 * the given variables can be reached but the clock (strftime_now).
 *
 * There are if, for (with filter, else, break, continue), set (blocks too),
 * macro, filter, with, raw and generation; all operators; the filters, tests and
 * methods of jinja_builtin.c. Not there: call, import, include, extends, block,
 * recursive loops, mutation of lists and dicts. upper, lower, title and
 * capitalize change ASCII letters only; integers have 64 bits. What is not there
 * is named in an error when it is reached.
 */
#ifndef LINNET_TEXT_JINJA_H
#define LINNET_TEXT_JINJA_H

#include <linnet/linnet.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "runtime/format/gguf.h"

struct jinja;

enum jinja_type {
	JINJA_UNDEFINED,	/* str: the name that was not found */
	JINJA_NONE,
	JINJA_BOOL,
	JINJA_INT,
	JINJA_FLOAT,
	JINJA_STRING,
	JINJA_LIST,
	JINJA_DICT,
	JINJA_NAMESPACE,
	JINJA_MACRO,
	JINJA_FUNCTION,
	JINJA_METHOD,
	JINJA_LOOP,
};

struct jinja_list;
struct jinja_dict;

struct jinja_value {
	enum jinja_type type;
	union {
		bool b;
		int64_t i;
		double f;
		struct linnet_str str;
		struct jinja_list *list;
		struct jinja_dict *dict;		/* JINJA_NAMESPACE too */
		const struct jinja_macro *macro;
		const struct jinja_builtin *function;
		const struct jinja_method *method;
		const struct jinja_loop *loop;
	};
};

/*
 * Everything for one rendering. Strings that are given to it must outlive it; name
 * is what errors call the template. err gets the message of whatever fails later,
 * and may be NULL.
 */
int jinja_create(struct jinja **out, const char *name, struct linnet_error *err);
void jinja_destroy(struct jinja *j);

/* Values live as long as j. Those that allocate return 0 or -errno. */
struct jinja_value jinja_none(void);
struct jinja_value jinja_bool(bool b);
struct jinja_value jinja_int(int64_t i);
struct jinja_value jinja_string(const char *p, size_t n);
int jinja_new_list(struct jinja *j, struct jinja_value *out);
int jinja_new_dict(struct jinja *j, struct jinja_value *out);
int jinja_append(struct jinja *j, struct jinja_value *list, struct jinja_value item);
int jinja_insert(struct jinja *j, struct jinja_value *dict, struct jinja_value key,
		 struct jinja_value value);

/* A variable of the template. */
int jinja_set(struct jinja *j, const char *name, struct jinja_value value);

/*
 * Render. *text is malloc()ed and ends in a zero byte that *n does not count; n
 * may be NULL when the template and the variables hold no zero bytes. -EINVAL:
 * the template is wrong, or refuses its input; -ENOTSUP: it uses what is not
 * there; -E2BIG: a bound was met; -ENOMEM. Errors name the line. Once per j.
 */
int jinja_render(struct jinja *j, const char *tmpl, size_t tmpl_n, char **text, size_t *n);

#endif
