/* SPDX-License-Identifier: MIT */
/* Conversations as text, by the template that a model brings. */
#ifndef LINNET_TEXT_CHAT_H
#define LINNET_TEXT_CHAT_H

#include <linnet/linnet.h>

#include "tokenizer.h"

/* The model's template ("tokenizer.chat_template"). -ENOENT: it has none. */
int linnet_chat_template(const struct linnet_gguf *g, struct linnet_str *out,
			 struct linnet_error *err);

/*
 * As linnet_chat_format(). t (may be NULL) gives the texts of BOS and EOS; the
 * template gets messages, add_generation_prompt, bos_token, eos_token, and none
 * for tools and documents, as Hugging Face passes them. Control tokens that the
 * messages spell out are text like any other to the template: the caller decides
 * what becomes a token when the result is encoded.
 */
int linnet_chat_render(const struct linnet_tokenizer *t, const struct linnet_str *tmpl,
		       const struct linnet_chat_message *messages, size_t n,
		       bool add_generation_prompt, char **text, struct linnet_error *err);

#endif
