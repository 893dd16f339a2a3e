// SPDX-License-Identifier: MIT
/*
 * linnet chat: a conversation. Each line of standard input is a message; replies go
 * to stdout. The whole conversation is rendered with the chat template for each
 * reply; the session keeps the tokens that did not change.
 */
#include "generate.h"
#include "input.h"
#include "model.h"
#include "options.h"
#include "term.h"
#include "tool.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct chat {
	struct linnet_model *model;
	struct linnet_session *session;
	struct linnet_sampler *sampler;
	struct drafts drafts;
	const struct model_args *margs;
	const struct sampling_args *samp;
	const char *template;		/* NULL: the model's own */

	struct linnet_chat_message *messages;
	size_t n_messages;

	int32_t *ids;			/* what the session holds */
	size_t n_ids;

	char *reply;
	size_t reply_len;
};

static void add_message(struct chat *c, const char *role, const char *content)
{
	c->messages = tool_realloc(c->messages, (c->n_messages + 1) * sizeof(*c->messages));
	c->messages[c->n_messages].role = role;
	c->messages[c->n_messages++].content = tool_strdup(content);
}

static void drop_messages(struct chat *c, size_t keep)
{
	while (c->n_messages > keep)
		free((char *)c->messages[--c->n_messages].content);
}

static void on_token(void *ctx, int32_t id, const char *text, size_t n)
{
	struct chat *c = ctx;

	if (id >= 0) {
		c->ids = tool_realloc(c->ids, (c->n_ids + 1) * sizeof(*c->ids));
		c->ids[c->n_ids++] = id;
	}
	c->reply = tool_realloc(c->reply, c->reply_len + n + 1);
	memcpy(c->reply + c->reply_len, text ? text : "", n);
	c->reply_len += n;
	c->reply[c->reply_len] = '\0';
}

/* Tokens of the conversation with the assistant's turn opened. */
static int render(struct chat *c, int32_t **ids, size_t *n_ids)
{
	struct linnet_error err = { 0 };
	int32_t *start, *body;
	size_t n_start, n_body;
	char *text;
	int ret, status;

	ret = linnet_chat_format(c->model, c->template, c->messages, c->n_messages, true,
				 &text, &err);
	if (ret == -ENOENT) {
		tool_error("%s: the model has no chat template (tokenizer.chat_template); give one "
			   "with --chat-template FILE", c->margs->path);
		return TOOL_FAILED;
	}
	if (ret) {
		tool_error("%s", err.message);
		return TOOL_FAILED;
	}
	status = input_tokenize(c->model, c->margs->path, text, strlen(text),
				LINNET_TOKENIZE_PARSE, &body, &n_body);
	free(text);
	if (status)
		return status;
	/* BOS as the model asks, unless the template has written it. */
	status = input_tokenize(c->model, c->margs->path, "", 0, LINNET_TOKENIZE_SPECIAL,
				&start, &n_start);
	if (status) {
		free(body);
		return status;
	}
	if (n_start && start[0] == linnet_token_bos(c->model) && !(n_body && body[0] == start[0])) {
		body = tool_realloc(body, (n_body + 1) * sizeof(*body));
		memmove(body + 1, body, n_body * sizeof(*body));
		body[0] = start[0];
		n_body++;
	}
	free(start);
	*ids = body;
	*n_ids = n_body;
	return TOOL_OK;
}

/* The reply to the messages so far. TOOL_OK also when it was cut short. */
static int answer(struct chat *c, uint64_t start_ns)
{
	struct summary sum = { .start_ns = start_ns };
	struct generate g = {
		.session = c->session, .model = c->model, .sampler = c->sampler,
		.n_predict = c->samp->n_predict, .ignore_eos = c->samp->ignore_eos,
		.token = on_token, .ctx = c, .trim = true,
		.drafts = &c->drafts,
	};
	enum generate_end end = GENERATE_INTERRUPT;
	struct linnet_error err = { 0 };
	size_t same = 0, n_ids, have;
	int32_t *ids;
	int ret, status;

	status = render(c, &ids, &n_ids);
	if (status)
		return status;
	if (n_ids > linnet_session_capacity(c->session)) {
		tool_error("%s: the conversation has %zu tokens and the context holds %u "
			   "(--ctx, %u); /clear starts a new one", c->margs->path, n_ids,
			   linnet_session_capacity(c->session),
			   	linnet_session_capacity(c->session));
		free(ids);
		return TOOL_FAILED;
	}
	/* what the sampler has seen */
	while (same + 1 < n_ids && same < linnet_session_length(c->session) &&
	       same < c->n_ids && ids[same] == c->ids[same])
		same++;
	have = model_restore(c->session, ids, n_ids);
	drafts_truncate(&c->drafts, same);
	free(c->ids);
	c->ids = ids;
	c->n_ids = n_ids;
	c->reply = tool_realloc(c->reply, 1);
	c->reply[0] = '\0';
	c->reply_len = 0;

	ret = linnet_detok_create(&g.detok, c->model, false, true);
	if (!ret)
		ret = generate_prompt(&g, ids, n_ids, same);
	if (ret) {
		linnet_detok_destroy(g.detok);
		tool_error_errno(c->margs->path, "cannot turn tokens into text", ret);
		return TOOL_FAILED;
	}
	sum.n_prompt = n_ids - have;
	sum.opened_ns = now_ns();
	interrupt_begin(c->session);
	ret = model_prefill(c->session, c->model, ids + have, n_ids - have, true, &err);
	sum.prefill_ns = now_ns();
	if (!ret)
		end = generate(&g, &err);
	else if (ret != -EINTR)
		end = GENERATE_FAILED;
	interrupt_end();
	linnet_detok_destroy(g.detok);
	if (end == GENERATE_OUTPUT)
		return TOOL_FAILED;
	if (!g.newline)
		out_write("\n", 1);
	out_flush();
	model_save(c->session);
	if (end == GENERATE_FAILED) {
		tool_error("%s", err.message);
		return TOOL_FAILED;
	}
	if (end == GENERATE_CONTEXT)
		tool_note("%s: the context is full (--ctx, %u); /clear starts a new conversation",
			  c->margs->path, linnet_session_capacity(c->session));
	if (!tool_quiet && g.n_tokens > 1)
		fprintf(stderr, "%s%llu + %llu tokens, first after %.2f s, then %.1f tokens/s%s\n",
			term_style(2, TERM_DIM), (unsigned long long)sum.n_prompt,
			(unsigned long long)g.n_tokens,
			(double)(g.first_ns - sum.start_ns) / 1e9,
			(double)(g.n_tokens - 1) * 1e9 /
			(double)(g.end_ns > g.first_ns ? g.end_ns - g.first_ns : 1),
			term_style(2, TERM_RESET));
	return TOOL_OK;
}

/* A person who has typed nothing for so long thinks, and what it costs to be idle is not felt. */
#define IDLE_MS 1000

/* Wait for a person's line; others that want the memory meanwhile may have some. */
static void await_line(struct linnet_model *m)
{
	struct pollfd fd[2] = {
		{ .fd = 0, .events = POLLIN },
		/* negative when there is none: poll() passes it over */
		{ .fd = linnet_model_pressure_fd(m), .events = POLLIN },
	};

	int n, timeout = IDLE_MS;

	while ((n = poll(fd, 2, timeout)) >= 0 && !fd[0].revents) {
		if (n) {
			linnet_model_set_memory(m, 0, NULL);
			continue;
		}
		/* where weights cannot be taken they stay */
		linnet_model_idle(m, NULL);
		timeout = -1;
	}
}

static int converse(struct chat *c, const char *system)
{
	bool asking = term_is(0);
	char *line = NULL;
	size_t cap = 0;
	int status = TOOL_OK;

	if (system)
		add_message(c, "system", system);
	if (asking)
		tool_note("one line is one message; /clear starts over, /exit or Ctrl-D ends");
	for (;;) {
		size_t before = c->n_messages;
		ssize_t n;

		if (asking) {
			fprintf(stderr, "%s> %s", term_style(2, TERM_GREEN),
				term_style(2, TERM_RESET));
			fflush(stderr);
		}
		if (asking)
			await_line(c->model);
		errno = 0;
		n = getline(&line, &cap, stdin);
		if (n < 0) {
			if (ferror(stdin)) {
				tool_error_errno("standard input", "cannot read", errno);
				status = TOOL_FAILED;
			} else if (asking) {
				fputc('\n', stderr);
			}
			break;
		}
		while (n && (line[n - 1] == '\n' || line[n - 1] == '\r'))
			line[--n] = '\0';
		if (!strcmp(line, "/exit"))
			break;
		if (!strcmp(line, "/clear")) {
			drop_messages(c, system ? 1 : 0);
			continue;
		}
		if (!n)
			continue;
		add_message(c, "user", line);
		status = answer(c, now_ns());
		if (status) {
			/* At a terminal a conversation that became too long, for
			 * one, can be cleared; a script has to know. */
			if (!asking || !out_flush())
				break;
			drop_messages(c, before);
			status = TOOL_OK;
			continue;
		}
		add_message(c, "assistant", c->reply);
	}
	free(line);
	return status;
}

int cmd_chat(int argc, char **argv)
{
	struct model_args margs = { 0 };
	struct session_args sargs = { 0 };
	struct sampling_args samp = SAMPLING_DEFAULTS;
	struct draft_args dargs = DRAFT_DEFAULTS;
	const char *system = NULL, *template = NULL;
	const struct opt opts[] = {
		OPTS_MODEL(&margs),
		OPTS_SESSION(&sargs),
		{ OPT_GROUP, .help = "Conversation" },
		{ OPT_TEXT, 0, "system", "TEXT", "the system message", &system },
		{ OPT_TEXT, 0, "chat-template", "FILE",
		  "use the template (Jinja) of FILE instead of the model's",
		  &template },
		{ OPT_INT, 'n', "predict", "N",
		  "tokens in one reply at most; -1: no limit (default: -1)",
		  &samp.n_predict, -1, INT32_MAX },
		OPTS_SAMPLING(&samp),
		{ OPT_GROUP, .help = "Speed" },
		OPTS_KV_CACHE(&sargs),
		OPTS_DRAFT(&dargs),
		OPT_COMMON
	};
	const struct cli cli = {
		"chat", "-m FILE [options]",
		"Talk with a model: each line of standard input is a message, replies go to\n"
		"stdout. Uses the model's own chat template. /clear starts over, /exit or the end\n"
		"of the input ends. Ctrl-C ends a reply, not the conversation.",
		"  linnet chat -m model.gguf\n"
		"  linnet chat -m model.gguf --system \"Answer in one sentence.\" --temp 0.2\n"
		"  echo \"What is a linnet?\" | linnet chat -m model.gguf -q\n",
		opts, &margs.path
	};
	struct chat c = { .margs = &margs, .samp = &samp };
	char *template_text = NULL;
	size_t n;
	int status;

	if (!cli_parse(&cli, argc, argv, &status))
		return status;
	if (template) {
		status = input_read(template, &template_text, &n);
		if (status)
			return status;
		c.template = template_text;
	}
	status = model_open(&c.model, &margs, false);
	if (!status)
		status = drafts_open(&c.drafts, &dargs, c.model, &margs, &sargs, 0);
	if (!status)
		status = model_session(&c.session, c.model, &margs, &sargs, 0,
				       1 + drafts_rows(&c.drafts));
	if (!status)
		status = sampler_open(&c.sampler, c.model, &samp);
	if (!status)
		status = converse(&c, system);
	drop_messages(&c, 0);
	free(c.messages);
	free(c.ids);
	free(c.reply);
	drafts_close(&c.drafts);
	linnet_sampler_destroy(c.sampler);
	linnet_session_destroy(c.session);
	linnet_model_close(c.model);
	free(template_text);
	return out_finish(status);
}
