// SPDX-License-Identifier: MIT
/* Keeps input.h: whole files, prompts, tokens. */
#include "input.h"
#include "tool.h"
#include "options.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* linnet_tokenize() takes no more. */
#define INPUT_MAX ((size_t)1 << 30)

int input_read(const char *path, char **data, size_t *n)
{
	bool standard = !strcmp(path, "-");
	const char *name = standard ? "standard input" : path;
	size_t cap = 1 << 16, have = 0;
	char *buf = NULL, *bigger;
	int fd = STDIN_FILENO;
	if (!standard) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0) {
			tool_error_errno(name, "cannot open", errno);
			return TOOL_FAILED;
		}
	}
	for (;;) {
		ssize_t got;

		if (!buf || have + 1 >= cap) {
			cap *= 2;
			bigger = realloc(buf, cap);
			if (!bigger) {
				tool_error_errno(name, "cannot read", ENOMEM);
				goto err_free;
			}
			buf = bigger;
		}
		got = read(fd, buf + have, cap - have - 1);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0) {
			tool_error_errno(name, "cannot read", errno);
			goto err_free;
		}
		if (!got)
			break;
		have += (size_t)got;
		if (have > INPUT_MAX) {
			tool_error("%s: text is too long (limit, %zu bytes)", name, INPUT_MAX);
			goto err_free;
		}
	}
	if (!standard)
		close(fd);
	buf[have] = '\0';
	*data = buf;
	*n = have;
	return TOOL_OK;

err_free:
	free(buf);
	if (!standard)
		close(fd);
	return TOOL_FAILED;
}

int input_prompt(const char *command, const struct prompt_args *args, bool keep_newline,
		 char **text, size_t *n)
{
	int status;

	if (args->text && args->file)
		return cli_wrong(command, "a prompt from both", "--prompt, --file", NULL);
	if (args->text) {
		*text = tool_strdup(args->text);
		*n = strlen(args->text);
		return TOOL_OK;
	}
	if (!args->file && isatty(STDIN_FILENO))
		return cli_wrong(command, "no prompt: give -p TEXT or -f FILE, or pipe text in",
				 "--prompt", NULL);
	status = input_read(args->file ? args->file : "-", text, n);
	if (status)
		return status;
	if (!keep_newline && *n && (*text)[*n - 1] == '\n') {
		--*n;
		if (*n && (*text)[*n - 1] == '\r')
			--*n;
		(*text)[*n] = '\0';
	}
	return TOOL_OK;
}

int input_tokenize(const struct linnet_model *m, const char *path, const char *text, size_t n,
		   unsigned flags, int32_t **ids, size_t *n_ids)
{
	/* Rarely is a token shorter than two bytes, and never are there many more
	 * tokens than bytes: the second call is for the exception. */
	size_t cap = n / 2 + 16;
	int32_t *v = malloc(cap * sizeof(*v)), *bigger;
	int64_t count = v ? linnet_tokenize(m, text, n, flags, v, cap) : -ENOMEM;

	if (count > 0 && (uint64_t)count > cap) {
		cap = (size_t)count;
		bigger = realloc(v, cap * sizeof(*v));
		if (bigger)
			v = bigger;
		count = bigger ? linnet_tokenize(m, text, n, flags, v, cap) : -ENOMEM;
	}
	if (count < 0) {
		free(v);
		if (count == -ENOTSUP)
			tool_error("%s: the model has no tokenizer (tokenizer.ggml.model)", path);
		else
			tool_error_errno(path, "cannot tokenize the text", (int)count);
		return TOOL_FAILED;
	}
	*ids = v;
	*n_ids = (size_t)count;
	return TOOL_OK;
}

int input_start_tokens(const struct linnet_model *m, const char *path, const char *text, size_t n,
		       int32_t **ids, size_t *n_ids)
{
	int status = input_tokenize(m, path, text, n,
				    LINNET_TOKENIZE_SPECIAL | LINNET_TOKENIZE_PARSE, ids, n_ids);
	int32_t bos = linnet_token_bos(m);

	if (status)
		return status;
	/* A model that ends every text with EOS must not start to write after one. */
	if (*n_ids > 1 && (*ids)[*n_ids - 1] == linnet_token_eos(m) && n)
		--*n_ids;
	if (n)
		return TOOL_OK;
	if (bos < 0) {
		free(*ids);
		tool_error("%s: the prompt is empty and the model has no beginning-of-text token "
			   "(tokenizer.ggml.bos_token_id)", path);
		return TOOL_FAILED;
	}
	(*ids)[0] = bos;
	*n_ids = 1;
	return TOOL_OK;
}
