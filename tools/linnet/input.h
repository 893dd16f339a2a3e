/* SPDX-License-Identifier: MIT */
/* Prompts and other input: files, standard input, text to tokens. */
#ifndef LINNET_TOOL_INPUT_H
#define LINNET_TOOL_INPUT_H

#include <linnet/linnet.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * A whole file, or standard input for "-", with a NUL after its *n bytes (any
 * bytes). *data is for free(). TOOL_OK or TOOL_FAILED, with a message.
 */
int input_read(const char *path, char **data, size_t *n);

/* -p TEXT or -f FILE. */
struct prompt_args {
	const char *text;
	const char *file;
};

#define OPTS_PROMPT(p)								\
	{ OPT_TEXT, 'p', "prompt", "TEXT",						\
	  "the prompt; \"\" starts from the beginning-of-text\n"			\
	  "token alone", &(p)->text },						\
	{ OPT_TEXT, 'f', "file", "FILE",						\
	  "read the prompt from FILE (\"-\": standard input); one\n"			\
	  "line break at its end is dropped", &(p)->file }

/*
 * The prompt: -p, else -f, else standard input when it is not a terminal. *text is
 * for free(). Returns a status, with a message unless it is TOOL_OK. With
 * keep_newline the text is exactly what the file holds.
 */
int input_prompt(const char *command, const struct prompt_args *args, bool keep_newline,
		 char **text, size_t *n);

/* Text to ids (for free()), with a message on failure. flags as linnet_tokenize(). */
int input_tokenize(const struct linnet_model *m, const char *path, const char *text, size_t n,
		   unsigned flags, int32_t **ids, size_t *n_ids);

/*
 * The tokens that a session starts from: those of the text, with BOS as the model
 * asks; for an empty text BOS alone, also where the model adds none by itself.
 */
int input_start_tokens(const struct linnet_model *m, const char *path, const char *text, size_t n,
		       int32_t **ids, size_t *n_ids);

#endif
