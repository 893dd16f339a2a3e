// SPDX-License-Identifier: MIT
/*
 * Fuzz target: runtime/text/chat.h and jinja.h, with any template and any messages. Input:
 * flags, then parts divided by 0xff bytes: the template and the contents of up to three
 * messages. Flag 1 asks for the generation prompt, flag 2 lets zero bytes pass.
 */
#include "fuzz.h"

#include "runtime/text/chat.h"
#include "runtime/text/jinja.h"

#include <errno.h>
#include <string.h>

/* The next part as a string of its own, freed by the caller. */
static char *part(const uint8_t **p, const uint8_t *end, size_t *len)
{
	const uint8_t *from = *p;
	char *s;

	while (*p < end && **p != 0xff)
		++*p;
	*len = (size_t)(*p - from);
	*p += *p < end;
	s = malloc(*len + 1);
	must(s);
	memcpy(s, from, *len);
	s[*len] = 0;
	return s;
}

static void check(int ret, const struct linnet_error *err, char *text)
{
	must(ret <= 0 && ret != -ENOMEM);
	must(!ret || (*err->message && !strchr(err->message, '\n')));
	if (!ret)
		free(text);
}

/* The engine alone: the template may hold zero bytes, strings too. */
static void render(const char *tmpl, size_t n, const char *content, size_t content_n)
{
	struct linnet_error err = { 0 };
	struct jinja_value list, dict;
	struct jinja *j;
	char *text = NULL;
	size_t len = 0;
	int ret;

	must(!jinja_create(&j, "template", &err));
	must(!jinja_new_list(j, &list) && !jinja_new_dict(j, &dict));
	must(!jinja_insert(j, &dict, jinja_string("role", 4), jinja_string("user", 4)));
	must(!jinja_insert(j, &dict, jinja_string("content", 7), jinja_string(content, content_n)));
	must(!jinja_append(j, &list, dict));
	must(!jinja_set(j, "messages", list) && !jinja_set(j, "n", jinja_int(7)));
	ret = jinja_render(j, tmpl, n, &text, &len);
	must(ret || !text[len]);
	check(ret, &err, text);
	jinja_destroy(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char *const roles[] = { "system", "user", "assistant" };
	struct linnet_chat_message messages[3];
	struct linnet_error err = { 0 };
	const uint8_t *p = data + 1, *end = data + n;
	size_t tmpl_n, len[3], n_messages = 0;
	char *tmpl, *content[3], *text = NULL;
	int ret;

	if (!n)
		return 0;
	tmpl = part(&p, end, &tmpl_n);
	while (n_messages < 3 && p < end) {
		content[n_messages] = part(&p, end, &len[n_messages]);
		messages[n_messages].role = roles[n_messages];
		messages[n_messages].content = content[n_messages];
		n_messages++;
	}
	ret = linnet_chat_render(NULL, NULL, tmpl, messages, n_messages, data[0] & 1, &text, &err);
	check(ret, &err, text);
	if (data[0] & 2)
		render(tmpl, tmpl_n, n_messages ? content[0] : "", n_messages ? len[0] : 0);
	free(tmpl);
	while (n_messages)
		free(content[--n_messages]);
	return 0;
}
