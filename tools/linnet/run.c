// SPDX-License-Identifier: MIT
/*
 * linnet run: the prompt and what the model writes after it on stdout, as it is
 * written; a summary of time and memory on stderr.
 */
#include "generate.h"
#include "input.h"
#include "model.h"
#include "options.h"
#include "term.h"
#include "tool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int write_part(void *ctx, const char *text, size_t n)
{
	return out_write(text, n) ? 0 : -1;
}

static int dump(struct model_args *margs)
{
	struct linnet_model *m;
	int status = model_open(&m, margs, false);

	if (status)
		return status;
	linnet_model_dump_streams(m, write_part, NULL);
	linnet_model_close(m);
	return out_finish(TOOL_OK);
}

/* Everything between an open model and the summary. */
static int run(struct linnet_model *m, const struct model_args *margs,
	       const struct session_args *sargs, struct sampling_args *samp,
	       const struct draft_args *dargs,
	       const char *stats, const char *text, size_t n_text, struct summary *sum,
	       struct generate *g)
{
	uint64_t n_new = samp->n_predict > 0 ? (uint64_t)samp->n_predict : 0;
	enum generate_end end = GENERATE_INTERRUPT;
	struct linnet_stats st = LINNET_INIT(st);
	struct linnet_error err = { 0 };
	int32_t *ids;
	size_t n_ids;
	int ret, status;

	status = input_start_tokens(m, margs->path, text, n_text, &ids, &n_ids);
	if (status)
		return status;
	status = drafts_open(g->drafts, dargs, m, margs, sargs, n_ids + n_new);
	if (status)
		goto out_ids;
	sum->plan.size = sizeof(sum->plan);
	if (model_memory(m, sargs, n_ids + n_new, 1 + drafts_rows(g->drafts), &sum->plan, NULL))
		sum->plan.total = 0;
	status = model_session(&g->session, m, margs, sargs, n_ids + n_new,
			       1 + drafts_rows(g->drafts));
	if (status)
		goto out_ids;
	status = TOOL_FAILED;
	if (n_ids > linnet_session_capacity(g->session)) {
		tool_error("%s: the prompt has %zu tokens and the context holds %u (--ctx, %u)",
			   margs->path, n_ids, linnet_session_capacity(g->session),
			   linnet_session_capacity(g->session));
		goto out_ids;
	}
	if (sampler_open(&g->sampler, m, samp))
		goto out_ids;
	ret = linnet_detok_create(&g->detok, m, false, true);
	if (!ret)
		ret = generate_prompt(g, ids, n_ids, 0);
	if (ret) {
		tool_error_errno(margs->path, "cannot turn tokens into text", ret);
		goto out_ids;
	}
	sum->n_prompt = n_ids;
	sum->opened_ns = now_ns();
	interrupt_begin(g->session);
	/* The prompt is printed as it was given. */
	out_write(term_style(1, TERM_BOLD), strlen(term_style(1, TERM_BOLD)));
	out_text(text, n_text);
	out_write(term_style(1, TERM_RESET), strlen(term_style(1, TERM_RESET)));
	g->newline = n_text && text[n_text - 1] == '\n';
	if (!out_flush()) {
		interrupt_end();
		goto out_ids;
	}
	sum->n_restored = model_restore(g->session, ids, n_ids);
	sum->n_prompt -= sum->n_restored;
	ret = model_prefill(g->session, m, ids + sum->n_restored, n_ids - sum->n_restored, true,
			    &err);
	sum->prefill_ns = now_ns();
	if (!linnet_session_stats(g->session, &st))
		sum->prefill_read = st.bytes_read;
	if (!ret)
		end = generate(g, &err);
	else if (ret != -EINTR)
		end = GENERATE_FAILED;
	interrupt_end();
	/* Elsewhere the text alone is what a script wants. */
	if (term_is(1) && !g->newline)
		out_write("\n", 1);
	out_flush();
	if (end == GENERATE_FAILED)
		tool_error("%s", err.message);
	if (end == GENERATE_CONTEXT)
		tool_note("%s: the context is full (--ctx, %u)", margs->path,
			  linnet_session_capacity(g->session));
	model_save(g->session);
	if (end != GENERATE_FAILED && end != GENERATE_OUTPUT) {
		summary_print(sum, g, samp);
		status = stats ? summary_write(sum, g, samp, stats) : TOOL_OK;
	}
out_ids:
	free(ids);
	return status;
}

int cmd_run(int argc, char **argv)
{
	struct model_args margs = { 0 };
	struct session_args sargs = { 0 };
	struct sampling_args samp = SAMPLING_DEFAULTS;
	struct prompt_args pargs = { 0 };
	const char *stats = NULL;
	bool dump_stream = false;
	struct draft_args dargs = DRAFT_DEFAULTS;
	struct drafts drafts = { 0 };
	const struct opt opts[] = {
		OPTS_MODEL(&margs),
		OPTS_SESSION(&sargs),
		{ OPT_GROUP, .help = "Text" },
		OPTS_PROMPT(&pargs),
		{ OPT_INT, 'n', "predict", "N",
		  "tokens to write; -1: until the model ends its text or\n"
		  "the context is full (default: -1)", &samp.n_predict, -1, INT32_MAX },
		OPTS_SAMPLING(&samp),
		{ OPT_GROUP, .help = "Speed" },
		OPTS_KV_CACHE(&sargs),
		OPTS_DRAFT(&dargs),
		{ OPT_GROUP, .help = "Inspection" },
		{ OPT_TEXT, 0, "stats", "FILE", "write the summary as JSON to FILE", &stats },
		{ OPT_FLAG, 0, "dump-stream", NULL,
		  "print the model's command streams in words, and exit",
		  &dump_stream },
		OPT_COMMON
	};
	const struct cli cli = {
		"run", "[-m FILE] [-p TEXT | -f FILE] [options]",
		"Write text after a prompt. The prompt and the text go to stdout, everything else\n"
		"to stderr. Without -p and -f the prompt is read from standard input, unless that\n"
		"is a terminal. Ctrl-C ends the text; the summary is still printed.",
		"  linnet run -p \"Once upon a time\"\n"
		"  linnet run -m model.gguf -p \"The capital of France is\" -n 32 --temp 0\n"
		"  linnet run -m model.gguf -f letter.txt --memory 2G > answer.txt\n"
		"  linnet run -m large.gguf --draft small.gguf --memory 4G -f letter.txt\n",
		opts, &margs.path
	};
	struct summary sum = { .start_ns = tool_start_ns };
	struct linnet_model *m = NULL;
	struct generate g = { 0 };
	char *text = NULL;
	size_t n_text;
	int status;

	if (!cli_parse(&cli, argc, argv, &status))
		return status;
	if (dump_stream)
		return dump(&margs);
	status = input_prompt("run", &pargs, false, &text, &n_text);
	if (status)
		return status;
	status = model_open(&m, &margs, false);
	if (!status) {
		g.model = m;
		g.drafts = &drafts;
		g.n_predict = samp.n_predict;
		g.ignore_eos = samp.ignore_eos;
		status = run(m, &margs, &sargs, &samp, &dargs, stats, text, n_text, &sum,
			     &g);
	}
	drafts_close(&drafts);
	linnet_detok_destroy(g.detok);
	linnet_sampler_destroy(g.sampler);
	linnet_session_destroy(g.session);
	linnet_model_close(m);
	free(text);
	return out_finish(status);
}
