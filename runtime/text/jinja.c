// SPDX-License-Identifier: MIT
/* Keeps jinja.h: one rendering from its variables to its text. */
#include "jinja_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "runtime/util/error.h"

int jinja_create(struct jinja **out, const char *name, struct linnet_error *err)
{
	struct jinja *j = calloc(1, sizeof(*j));

	if (!j)
		return linnet_err(err, -ENOMEM, "%s: no memory", name);
	j->name = name;
	j->err = err;
	*out = j;
	return 0;
}

void jinja_destroy(struct jinja *j)
{
	if (!j)
		return;
	linnet_arena_free(&j->arena);
	free(j);
}

int jinja_set(struct jinja *j, const char *name, struct jinja_value value)
{
	struct jinja_value vars = { .type = JINJA_DICT, .dict = &j->globals.vars };

	return jinja_insert(j, &vars, jinja_string(name, strlen(name)), value);
}

int jinja_render(struct jinja *j, const char *tmpl, size_t tmpl_n, char **text, size_t *n)
{
	struct jinja_token *tokens = NULL;
	struct jinja_buf b = { .j = j };
	struct jinja_node *tree;
	int ret;

	j->line = 1;
	if (tmpl_n > JINJA_MAX_TEMPLATE)
		return jinja_error(j, -E2BIG, "%zu bytes, at most %u are supported", tmpl_n,
				   JINJA_MAX_TEMPLATE);
	ret = jinja_lex(j, tmpl, tmpl_n, &tokens);
	if (!ret)
		ret = jinja_parse(j, tokens, &tree);
	free(tokens);
	if (!ret) {
		j->out = &b;
		ret = jinja_run(j, tree);
	}
	if (!ret)
		jinja_put(&b, "", 1);
	if (!ret)
		ret = b.ret;
	if (ret) {
		free(b.p);
		return ret == -ENOMEM && j->no_room ? -E2BIG : ret;
	}
	*text = b.p;
	if (n)
		*n = b.n - 1;
	return 0;
}
