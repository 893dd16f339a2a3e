// SPDX-License-Identifier: MIT
/* Keeps chat.h: the variables of a chat template, as transformers names them. */
#include "chat.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "jinja.h"
#include "runtime/util/error.h"

int linnet_chat_template(const struct linnet_gguf *g, struct linnet_str *out,
			 struct linnet_error *err)
{
	int ret = linnet_gguf_get_str(g, "tokenizer.chat_template", out, err);

	if (ret == -ENOENT)
		return linnet_err(err, ret, "%s: tokenizer.chat_template: the model has none",
				  linnet_gguf_path(g));
	return ret;
}

/* The text of a token; it lives as long as buf. */
static struct jinja_value token_text(const struct linnet_tokenizer *t, int32_t id, char **buf)
{
	int n = t && id >= 0 ? linnet_tokenizer_text(t, id, true, NULL, 0) : 0;

	*buf = n > 0 ? malloc(n) : NULL;
	if (!*buf)
		return jinja_string("", 0);
	linnet_tokenizer_text(t, id, true, *buf, n);
	return jinja_string(*buf, n);
}

static int add_message(struct jinja *j, struct jinja_value *list,
		       const struct linnet_chat_message *m)
{
	struct jinja_value dict;
	int ret = jinja_new_dict(j, &dict);

	if (!ret)
		ret = jinja_insert(j, &dict, jinja_string("role", 4),
				   jinja_string(m->role, strlen(m->role)));
	if (!ret)
		ret = jinja_insert(j, &dict, jinja_string("content", 7),
				   jinja_string(m->content, strlen(m->content)));
	return ret ? ret : jinja_append(j, list, dict);
}

int linnet_chat_render(const struct linnet_tokenizer *t, const struct linnet_str *tmpl,
		       const struct linnet_chat_message *messages, size_t n,
		       bool add_generation_prompt, char **text, struct linnet_error *err)
{
	char *bos = NULL, *eos = NULL;
	struct jinja_value list;
	struct jinja *j;
	size_t len;
	int ret;

	for (size_t i = 0; i < n; i++) {
		if (!messages[i].role || !messages[i].content)
			return linnet_err(err, -EINVAL, "chat message %zu has no %s", i,
					  messages[i].role ? "content" : "role");
	}
	ret = jinja_create(&j, err);
	if (ret)
		return ret;
	ret = jinja_new_list(j, &list);
	for (size_t i = 0; i < n && !ret; i++)
		ret = add_message(j, &list, &messages[i]);
	if (!ret)
		ret = jinja_set(j, "messages", list);
	if (!ret)
		ret = jinja_set(j, "add_generation_prompt", jinja_bool(add_generation_prompt));
	if (!ret)
		ret = jinja_set(j, "bos_token",
				token_text(t, t ? linnet_tokenizer_bos(t) : -1, &bos));
	if (!ret)
		ret = jinja_set(j, "eos_token",
				token_text(t, t ? linnet_tokenizer_eos(t) : -1, &eos));
	if (!ret)
		ret = jinja_set(j, "tools", jinja_none());
	if (!ret)
		ret = jinja_set(j, "documents", jinja_none());
	if (!ret)
		ret = jinja_render(j, tmpl->p, tmpl->n, text, &len);
	if (!ret && strlen(*text) != len) {
		free(*text);
		*text = NULL;
		ret = linnet_err(err, -EINVAL, "chat template: its text holds a zero byte");
	}
	jinja_destroy(j);
	free(bos);
	free(eos);
	return ret;
}
