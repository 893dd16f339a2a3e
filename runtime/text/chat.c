// SPDX-License-Identifier: MIT
/* Keeps chat.h: the variables of a chat template, as transformers names them. */
#include "chat.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "jinja.h"
#include "runtime/util/error.h"

/* The text of a token, nothing for none; it lives as long as buf. */
static int token_text(const struct linnet_tokenizer *t, int32_t id, char **buf,
		      struct jinja_value *out)
{
	int n = t && id >= 0 ? linnet_tokenizer_text(t, id, true, NULL, 0) : 0;

	*out = jinja_string("", 0);
	if (n <= 0)
		return 0;
	*buf = malloc(n);
	if (!*buf)
		return -ENOMEM;
	linnet_tokenizer_text(t, id, true, *buf, n);
	*out = jinja_string(*buf, n);
	return 0;
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

static int set_variables(struct jinja *j, const struct linnet_chat_message *messages, size_t n,
			 bool add_generation_prompt, struct jinja_value bos,
			 struct jinja_value eos)
{
	struct jinja_value list;
	int ret = jinja_new_list(j, &list);

	for (size_t i = 0; i < n && !ret; i++)
		ret = add_message(j, &list, &messages[i]);
	if (!ret)
		ret = jinja_set(j, "messages", list);
	if (!ret)
		ret = jinja_set(j, "add_generation_prompt", jinja_bool(add_generation_prompt));
	if (!ret)
		ret = jinja_set(j, "bos_token", bos);
	if (!ret)
		ret = jinja_set(j, "eos_token", eos);
	if (!ret)
		ret = jinja_set(j, "tools", jinja_none());
	if (!ret)
		ret = jinja_set(j, "documents", jinja_none());
	return ret;
}

int linnet_chat_render(const struct linnet_gguf *g, const struct linnet_tokenizer *t,
		       const char *tmpl, const struct linnet_chat_message *messages, size_t n,
		       bool add_generation_prompt, char **text, struct linnet_error *err)
{
	char name[256] = "chat template", *bos = NULL, *eos = NULL, *out;
	struct jinja_value bos_text, eos_text;
	struct linnet_str source;
	struct jinja *j;
	size_t len;
	int ret;

	for (size_t i = 0; i < n; i++) {
		if (!messages[i].role || !messages[i].content)
			return linnet_err(err, -EINVAL, "chat message %zu has no %s", i,
					  messages[i].role ? "content" : "role");
	}
	if (tmpl) {
		source = (struct linnet_str){ tmpl, strlen(tmpl) };
	} else {
		snprintf(name, sizeof(name), "%s: " LINNET_CHAT_TEMPLATE_KEY,
			 linnet_gguf_path(g));
		ret = linnet_gguf_get_str(g, LINNET_CHAT_TEMPLATE_KEY, &source, err);
		if (ret == -ENOENT)
			return linnet_err(err, ret, "%s: the model has none", name);
		if (ret)
			return ret;
	}
	ret = jinja_create(&j, name, err);
	if (ret)
		return ret;
	ret = token_text(t, t ? linnet_tokenizer_bos(t) : -1, &bos, &bos_text);
	if (!ret)
		ret = token_text(t, t ? linnet_tokenizer_eos(t) : -1, &eos, &eos_text);
	if (ret)
		linnet_err(err, ret, "%s: no memory", name);
	if (!ret)
		ret = set_variables(j, messages, n, add_generation_prompt, bos_text, eos_text);
	if (!ret)
		ret = jinja_render(j, source.p, source.n, &out, &len);
	if (!ret && memchr(out, 0, len)) {
		free(out);
		ret = linnet_err(err, -EINVAL, "%s: its text holds a zero byte", name);
	}
	if (!ret)
		*text = out;
	jinja_destroy(j);
	free(bos);
	free(eos);
	return ret;
}
