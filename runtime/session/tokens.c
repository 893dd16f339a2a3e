// SPDX-License-Identifier: MIT
/* The public face of a model's tokenizer and chat template. */
#include "runtime/model/model.h"
#include "runtime/text/chat.h"

#include <errno.h>

int64_t linnet_tokenize(const struct linnet_model *m, const char *text, size_t n, unsigned flags,
			int32_t *ids, size_t cap)
{
	if (!m->tokenizer)
		return -ENOTSUP;
	return linnet_tokenizer_encode(m->tokenizer, text, n, flags, ids, cap);
}

int linnet_token_text(const struct linnet_model *m, int32_t id, bool special, char *buf, size_t cap)
{
	if (!m->tokenizer)
		return -ENOTSUP;
	return linnet_tokenizer_text(m->tokenizer, id, special, buf, cap);
}

int linnet_detok_create(struct linnet_detok **out, const struct linnet_model *m, bool special,
			bool drop_lead)
{
	if (!m->tokenizer)
		return -ENOTSUP;
	return linnet_tokenizer_detok(out, m->tokenizer, special, drop_lead);
}

int32_t linnet_token_bos(const struct linnet_model *m)
{
	return m->tokenizer ? linnet_tokenizer_bos(m->tokenizer) : -1;
}

int32_t linnet_token_eos(const struct linnet_model *m)
{
	return m->tokenizer ? linnet_tokenizer_eos(m->tokenizer) : -1;
}

bool linnet_token_is_end(const struct linnet_model *m, int32_t id)
{
	return m->tokenizer && linnet_tokenizer_is_end(m->tokenizer, id);
}

int linnet_chat_format(const struct linnet_model *m, const char *tmpl,
		       const struct linnet_chat_message *messages, size_t n,
		       bool add_generation_prompt, char **text, struct linnet_error *err)
{
	return linnet_chat_render(m->gguf, m->tokenizer, tmpl, messages, n, add_generation_prompt,
				  text, err);
}
