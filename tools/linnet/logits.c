// SPDX-License-Identifier: MIT
/*
 * linnet logits: the numbers behind the text, for checks. JSON, or float32
 * little-endian rows of n_vocab on stdout.
 */
#include "input.h"
#include "json.h"
#include "model.h"
#include "options.h"
#include "tool.h"

#include <stdio.h>
#include <stdlib.h>

/* Rows of logits that a pass may give: at most 64 MiB of them. */
static uint32_t rows_per_pass(uint32_t n_vocab)
{
	uint64_t rows = ((uint64_t)64 << 20) / (4 * ((uint64_t)n_vocab + 1));

	return rows < 16 ? 16 : rows > 512 ? 512 : (uint32_t)rows;
}

static bool print_row(const float *row, uint32_t n_vocab, bool raw)
{
	json_t *j;
	bool ok;

	if (raw)
		return out_write(row, (size_t)n_vocab * sizeof(*row));
	j = json_new_array();
	for (uint32_t i = 0; i < n_vocab; i++)
		json_add(j, json_number(row[i]));
	/* nine digits give a float32 back exactly */
	ok = json_out(j, JSON_COMPACT | JSON_REAL_PRECISION(9));
	json_decref(j);
	return ok;
}

static int print_logits(struct linnet_session *s, const struct linnet_model *m,
			const int32_t *ids, size_t n_ids, uint32_t rows, bool all, bool raw)
{
	uint32_t n_vocab = model_info(m).n_vocab;
	struct linnet_error err = { 0 };
	int ret;

	if (!raw) {
		out_printf("{\"n_vocab\": %u, \"tokens\": [", n_vocab);
		for (size_t i = 0; i < n_ids; i++)
			out_printf("%s%d", i ? ", " : "", ids[i]);
		out_printf("], \"logits\": [\n");
	}
	if (!all) {
		ret = model_prefill(s, m, ids, n_ids, true, &err);
		if (!ret)
			print_row(linnet_session_logits(s, 0), n_vocab, raw);
	} else {
		ret = 0;
		for (size_t i = 0, n; i < n_ids && !ret; i += n) {
			n = n_ids - i < rows ? n_ids - i : rows;
			ret = linnet_session_decode(s, ids + i, n, LINNET_LOGITS_ALL, &err);
			for (size_t r = 0; r < n && !ret; r++) {
				if (!raw && i + r)
					out_printf(",\n");
				if (!print_row(linnet_session_logits(s, r), n_vocab, raw))
					return TOOL_FAILED;
			}
		}
	}
	if (ret) {
		tool_error("%s", err.message);
		return TOOL_FAILED;
	}
	if (!raw)
		out_printf("\n]}\n");
	return TOOL_OK;
}

int cmd_logits(int argc, char **argv)
{
	struct model_args margs = { 0 };
	/* a tool for checks keeps what was computed */
	struct session_args sargs = { .kv_type = LINNET_KV_F32 };
	struct prompt_args pargs = { 0 };
	struct opt_list tokens = { 0 };
	bool all = false, raw = false;
	const struct opt opts[] = {
		OPTS_MODEL(&margs),
		OPTS_KV(&sargs, "f32"),
		{ OPT_GROUP, .help = "Input" },
		{ OPT_LIST, 0, "tokens", "IDS", "token ids, separated by commas; nothing is added",
		  &tokens, 0, INT32_MAX },
		OPTS_PROMPT(&pargs),
		{ OPT_GROUP, .help = "Output" },
		{ OPT_FLAG, 0, "all", NULL,
		  "the logits after every token, not only after the last", &all },
		{ OPT_FLAG, 0, "raw", NULL,
		  "float32, little-endian, rows of n_vocab; not JSON", &raw },
		OPT_COMMON
	};
	const struct cli cli = {
		"logits", "[-m FILE] (--tokens IDS | -p TEXT | -f FILE) [options]",
		"Print the logits that a model gives after a text or after token ids: as JSON\n"
		"with the keys n_vocab, tokens and logits (a list of rows), or as raw numbers.",
		"  linnet logits -m model.gguf --tokens 1,5,9\n"
		"  linnet logits -m model.gguf --tokens 1,5,9 --all --raw > logits.f32\n"
		"  linnet logits -m model.gguf -p \"Once upon a\" | jq '.logits[0] | max'\n",
		opts, &margs.path
	};
	struct linnet_session *s = NULL;
	struct linnet_model *m = NULL;
	int32_t *ids = NULL;
	char *text = NULL;
	size_t n = 0, n_ids = 0;
	uint32_t rows = 1;
	int status;

	if (!cli_parse(&cli, argc, argv, &status))
		goto out;
	if (tokens.set && (pargs.text || pargs.file)) {
		status = cli_wrong("logits", "input from both", "--tokens, --prompt", NULL);
		goto out;
	}
	if (!tokens.set) {
		status = input_prompt("logits", &pargs, false, &text, &n);
		if (status)
			goto out;
	}
	status = model_open(&m, &margs, false);
	if (status)
		goto out;
	if (tokens.set) {
		ids = tool_alloc(tokens.n * sizeof(*ids));
		for (n_ids = 0; n_ids < tokens.n; n_ids++) {
			ids[n_ids] = (int32_t)tokens.v[n_ids];
			/* Found now, not after half of the output. */
			if (tokens.v[n_ids] >= model_info(m).n_vocab) {
				tool_error("%s: the vocabulary of %u tokens has no such token "
					   "(--tokens, %d)", margs.path, model_info(m).n_vocab,
					   ids[n_ids]);
				status = TOOL_FAILED;
				goto out;
			}
		}
	} else {
		status = input_start_tokens(m, margs.path, text, n, &ids, &n_ids);
		if (status)
			goto out;
	}
	if (all)
		rows = rows_per_pass(model_info(m).n_vocab);
	sargs.ctx = (int64_t)n_ids;
	status = model_session(&s, m, &margs, &sargs, n_ids, rows);
	if (!status)
		status = print_logits(s, m, ids, n_ids, rows, all, raw);
out:
	linnet_session_destroy(s);
	linnet_model_close(m);
	free(ids);
	free(text);
	free(tokens.v);
	return out_finish(status);
}
