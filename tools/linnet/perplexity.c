// SPDX-License-Identifier: MIT
/*
 * linnet perplexity: exp of the mean negative log-likelihood of a text's tokens.
 *
 * The text is tokenized as a whole and cut into chunks of n_ctx tokens; a last part
 * that is shorter is left out (a text shorter than one chunk is one chunk). Each
 * chunk is computed from an empty context; where the model adds BOS it takes the
 * place of the chunk's first token. Positions of the second half of a chunk count:
 * with first = n_ctx / 2, the logits at positions first ... n_ctx - 2 predict the
 * tokens after them. This is llama.cpp's definition, so that figures compare.
 */
#include "input.h"
#include "json.h"
#include "model.h"
#include "options.h"
#include "term.h"
#include "tool.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct estimate {
	double sum, sum2;	/* of the negative log-likelihoods, and of their squares */
	uint64_t n;
};

static double negative_log_likelihood(const float *logits, uint32_t n_vocab, int32_t id)
{
	float max = logits[0];
	double sum = 0;

	for (uint32_t i = 1; i < n_vocab; i++)
		if (logits[i] > max)
			max = logits[i];
	for (uint32_t i = 0; i < n_vocab; i++)
		sum += exp((double)logits[i] - (double)max);
	return log(sum) + (double)max - (double)logits[id];
}

static double perplexity(const struct estimate *e)
{
	return exp(e->sum / (double)e->n);
}

/* Standard error, carried through exp. */
static double deviation(const struct estimate *e)
{
	double mean = e->sum / (double)e->n;
	double var = e->sum2 / (double)e->n - mean * mean;

	return e->n > 1 && var > 0 ? sqrt(var / (double)(e->n - 1)) * exp(mean) : 0;
}

static int chunk(struct linnet_session *s, uint32_t n_vocab, uint32_t rows, const int32_t *ids,
		 size_t n, struct estimate *e, struct linnet_error *err)
{
	size_t first = n / 2;
	int ret;

	linnet_session_truncate(s, 0);
	ret = linnet_session_decode(s, ids, first, LINNET_LOGITS_NONE, err);
	for (size_t i = first, k; i + 1 < n && !ret; i += k) {
		k = n - 1 - i < rows ? n - 1 - i : rows;
		ret = linnet_session_decode(s, ids + i, k, LINNET_LOGITS_ALL, err);
		for (size_t r = 0; r < k && !ret; r++) {
			double nll = negative_log_likelihood(linnet_session_logits(s, r), n_vocab,
							     ids[i + r + 1]);

			e->sum += nll;
			e->sum2 += nll * nll;
			e->n++;
		}
	}
	return ret;
}

static void show(const struct estimate *e, uint64_t done, uint64_t n_chunks, uint64_t start_ns,
		 uint64_t *shown_ns)
{
	uint64_t now = now_ns();
	double left = (double)(now - start_ns) / 1e9 / (double)done * (double)(n_chunks - done);
	char text[96];

	snprintf(text, sizeof(text), "%llu of %llu, perplexity %.4f, %.0f s left",
		 (unsigned long long)done, (unsigned long long)n_chunks, perplexity(e), left);
	if (term_is(2))
		term_progress("chunks", done, n_chunks, text);
	else if (now - *shown_ns > 5000000000u) {
		tool_note("chunk %s", text);
		*shown_ns = now;
	}
}

static int measure(struct linnet_session *s, const struct linnet_model *m, int32_t *ids,
		   size_t n_ctx, uint64_t n_chunks, bool add_bos, uint32_t rows, bool json)
{
	uint32_t n_vocab = model_info(m).n_vocab;
	uint64_t start = now_ns(), shown = start;
	struct linnet_error err = { 0 };
	struct estimate e = { 0 };

	for (uint64_t c = 0; c < n_chunks; c++) {
		int32_t *part = ids + c * n_ctx;

		if (add_bos)
			part[0] = linnet_token_bos(m);
		if (chunk(s, n_vocab, rows, part, n_ctx, &e, &err)) {
			tool_error("%s", err.message);
			return TOOL_FAILED;
		}
		show(&e, c + 1, n_chunks, start, &shown);
	}
	term_clear_line();
	if (json) {
		json_t *o = json_new_object();

		json_put(o, "perplexity", json_number(perplexity(&e)));
		json_put(o, "deviation", json_number(deviation(&e)));
		json_put(o, "n_tokens", json_integer((json_int_t)e.n));
		json_put(o, "n_chunks", json_integer((json_int_t)n_chunks));
		json_put(o, "n_ctx", json_integer((json_int_t)n_ctx));
		json_put(o, "seconds", json_number((double)(now_ns() - start) / 1e9));
		json_out(o, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
		out_printf("\n");
		json_decref(o);
	} else {
		out_printf("perplexity: %.6f +/- %.6f over %llu tokens\n", perplexity(&e),
			   deviation(&e), (unsigned long long)e.n);
	}
	return TOOL_OK;
}

int cmd_perplexity(int argc, char **argv)
{
	struct model_args margs = { 0 };
	struct session_args sargs = { 0 };
	struct prompt_args pargs = { 0 };
	int64_t max_chunks = 0;
	bool json = false;
	const struct opt opts[] = {
		OPTS_MODEL(&margs),
		{ OPT_INT, 'c', "ctx", "N",
		  "tokens in one chunk (default: 512, or what the model was\n"
		  "trained for if that is less)", &sargs.ctx, 4, INT32_MAX },
		OPTS_KV(&sargs, "f16"),
		{ OPT_GROUP, .help = "Text" },
		{ OPT_TEXT, 'f', "file", "FILE",
		  "the text (\"-\" or not given: standard input)", &pargs.file },
		{ OPT_TEXT, 'p', "prompt", "TEXT", "the text itself", &pargs.text },
		{ OPT_INT, 0, "chunks", "N", "only the first N chunks (default: all)",
		  &max_chunks, 1,
		  INT32_MAX },
		{ OPT_FLAG, 0, "json", NULL, "the result as JSON", &json },
		OPT_COMMON
	};
	const struct cli cli = {
		"perplexity", "[-m FILE] -f FILE [options]",
		"Measure how well a model predicts a text; lower is better. The text's tokens\n"
		"are cut into chunks, and the tokens in the second half of each chunk count. The\n"
		"last line on stdout is \"perplexity: X +/- Y over N tokens\".",
		"  linnet perplexity -m model.gguf -f wikitext-2-test.txt\n"
		"  linnet perplexity -m model.gguf -f text.txt --ctx 2048 --chunks 10\n",
		opts, &margs.path
	};
	struct linnet_model_info info;
	struct linnet_session *s = NULL;
	struct linnet_model *m = NULL;
	int32_t *ids = NULL, *bos = NULL;
	size_t n_text, n_ids, n_bos, n_ctx;
	uint64_t rows, n_chunks;
	char *text = NULL;
	bool add_bos;
	int status;

	if (!cli_parse(&cli, argc, argv, &status))
		return status;
	status = input_prompt("perplexity", &pargs, true, &text, &n_text);
	if (status)
		return status;
	status = model_open(&m, &margs, false);
	if (status)
		goto out;
	status = input_tokenize(m, margs.path, text, n_text, LINNET_TOKENIZE_SPECIAL, &ids, &n_ids);
	if (!status)
		status = input_tokenize(m, margs.path, "", 0, LINNET_TOKENIZE_SPECIAL, &bos,
			&n_bos);
	if (status)
		goto out;
	add_bos = n_bos && bos[0] == linnet_token_bos(m);
	info = model_info(m);
	n_ctx = sargs.ctx ? (size_t)sargs.ctx :
		info.n_ctx_train && info.n_ctx_train < 512 ? info.n_ctx_train : 512;
	if (n_ids < 4) {
		tool_error("%s: the text is too short (tokens, %zu, at least 4 are needed)",
			   pargs.file ? pargs.file : "perplexity", n_ids);
		status = TOOL_FAILED;
		goto out;
	}
	if (n_ids < n_ctx) {
		tool_note("the text has %zu tokens, less than a chunk of %zu: it is one chunk",
			  n_ids, n_ctx);
		n_ctx = n_ids;
	}
	n_chunks = n_ids / n_ctx;
	if (max_chunks && n_chunks > (uint64_t)max_chunks)
		n_chunks = (uint64_t)max_chunks;
	/* Logits take at most 64 MiB. */
	rows = ((uint64_t)64 << 20) / (4 * ((uint64_t)info.n_vocab + 1));
	rows = rows < 16 ? 16 : rows > 512 ? 512 : rows;
	sargs.ctx = (int64_t)n_ctx;
	status = model_session(&s, m, &margs, &sargs, n_ctx, (uint32_t)rows);
	if (!status)
		status = measure(s, m, ids, n_ctx, n_chunks, add_bos, (uint32_t)rows, json);
out:
	linnet_session_destroy(s);
	linnet_model_close(m);
	free(bos);
	free(ids);
	free(text);
	return out_finish(status);
}
