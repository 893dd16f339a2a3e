/* SPDX-License-Identifier: MIT */
/* Conversations as text, by the template that a model brings. */
#ifndef LINNET_TEXT_CHAT_H
#define LINNET_TEXT_CHAT_H

#include <linnet/linnet.h>

#include "tokenizer.h"

/* The model's template is this metadata. */
#define LINNET_CHAT_TEMPLATE_KEY "tokenizer.chat_template"

/*
 * As linnet_chat_format(): with tmpl, or else the template in g. t (may be NULL)
 * gives the texts of BOS and EOS; the template gets messages,
 * add_generation_prompt, bos_token, eos_token, and none for tools and documents,
 * as Hugging Face passes them. Control tokens that the messages spell out are text
 * like any other to the template: the caller decides what becomes a token when the
 * result is encoded.
 */
int linnet_chat_render(const struct linnet_gguf *g, const struct linnet_tokenizer *t,
		       const char *tmpl, const struct linnet_chat_message *messages, size_t n,
		       bool add_generation_prompt, char **text, struct linnet_error *err);

#endif
