// SPDX-License-Identifier: MIT
/* linnet tokenize: text to ids on one line, and ids back to text. */
#include "input.h"
#include "model.h"
#include "options.h"
#include "term.h"
#include "tool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int encode(const struct linnet_model *m, const char *path, const char *text, size_t n,
		  unsigned flags)
{
	int32_t *ids;
	size_t n_ids;
	int status = input_tokenize(m, path, text, n, flags, &ids, &n_ids);

	if (status)
		return status;
	for (size_t i = 0; i < n_ids; i++)
		if (!out_printf("%s%d", i ? " " : "", ids[i]))
			break;
	out_printf("\n");
	free(ids);
	return TOOL_OK;
}

static int decode(const struct linnet_model *m, const char *path, const char *text, bool special)
{
	static const char separators[] = " \t\r\n,[]";
	struct linnet_detok *d;
	const char *part = "";
	char last = '\n';
	int n, status = TOOL_FAILED;

	n = linnet_detok_create(&d, m, special, true);
	if (n) {
		tool_error_errno(path, "cannot turn tokens into text", n);
		return TOOL_FAILED;
	}
	for (const char *p = text + strspn(text, separators); *p; p += strspn(p, separators)) {
		size_t len = strcspn(p, separators);
		char *end;
		long id;

		errno = 0;
		id = strtol(p, &end, 10);
		if (errno || end != p + len || id < 0 || id > INT32_MAX) {
			tool_error("tokenize: not a token id (\"%.*s\")",
				len > 32 ? 32 : (int)len, p);
			goto out;
		}
		n = linnet_detok_push(d, (int32_t)id, &part);
		if (n < 0) {
			if (n == -EINVAL)
				tool_error("%s: the vocabulary has no such token (id, %ld)",
					path, id);
			else
				tool_error_errno(path, "cannot turn tokens into text", n);
			goto out;
		}
		if (n)
			last = part[n - 1];
		if (!out_text(part, (size_t)n))
			goto out;
		p += len;
	}
	n = linnet_detok_flush(d, &part);
	if (n < 0) {
		tool_error_errno(path, "cannot turn tokens into text", n);
		goto out;
	}
	if (n) {
		last = part[n - 1];
		out_text(part, (size_t)n);
	}
	if (term_is(1) && last != '\n')
		out_write("\n", 1);
	status = TOOL_OK;
out:
	linnet_detok_destroy(d);
	return status;
}

int cmd_tokenize(int argc, char **argv)
{
	struct model_args margs = { 0 };
	struct prompt_args pargs = { 0 };
	bool decoding = false, special = false, parse = false;
	const struct opt opts[] = {
		OPTS_MODEL_FILE(&margs),
		{ OPT_GROUP, .help = "Input" },
		{ OPT_TEXT, 'p', "prompt", "TEXT", "the text, or the ids", &pargs.text },
		{ OPT_TEXT, 'f', "file", "FILE",
		  "read the text, every byte of it, or the ids from\n"
		  "FILE (\"-\": standard input)", &pargs.file },
		{ OPT_GROUP, .help = "What to do" },
		{ OPT_FLAG, 0, "decode", NULL,
		  "ids to text; ids are separated by spaces, commas or\n"
		  "line breaks", &decoding },
		{ OPT_FLAG, 0, "special", NULL,
		  "add beginning- and end-of-text tokens as the model asks;\n"
		  "with --decode, show control tokens", &special },
		{ OPT_FLAG, 0, "parse-special", NULL,
		  "read control tokens in the text as tokens, not as text",
		  &parse },
		OPT_COMMON
	};
	const struct cli cli = {
		"tokenize", "[-m FILE] [-p TEXT | -f FILE] [options]",
		"Turn text into token ids, separated by spaces on one line, or ids into text.\n"
		"The model may be a file that holds a vocabulary alone. Without -p and -f the\n"
		"input is read from standard input, unless that is a terminal.",
		"  linnet tokenize -m model.gguf -p \"Hello world\"\n"
		"  linnet tokenize -m model.gguf --file text.txt > ids.txt\n"
		"  linnet tokenize -m model.gguf --decode --file ids.txt\n",
		opts, &margs.path
	};
	struct linnet_model *m;
	char *text;
	size_t n;
	int status;

	if (!cli_parse(&cli, argc, argv, &status))
		return status;
	status = input_prompt("tokenize", &pargs, true, &text, &n);
	if (status)
		return status;
	status = model_open(&m, &margs, true);
	if (!status) {
		if (decoding)
			status = decode(m, margs.path, text, special);
		else
			status = encode(m, margs.path, text, n,
					(special ? LINNET_TOKENIZE_SPECIAL : 0) |
					(parse ? LINNET_TOKENIZE_PARSE : 0));
		linnet_model_close(m);
	}
	free(text);
	return out_finish(status);
}
