// SPDX-License-Identifier: MIT
/* Keeps generate.h. */
#include "generate.h"
#include "json.h"
#include "term.h"
#include "tool.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

int sampler_open(struct linnet_sampler **out, const struct linnet_model *m,
		 struct sampling_args *args)
{
	struct linnet_sampler_options opts = LINNET_INIT(opts);
	struct linnet_error err = { 0 };

	if (!args->seed.set) {
		uint32_t seed;

		/* 32 bits: short enough to be typed again */
		if (getrandom(&seed, sizeof(seed), 0) != sizeof(seed))
			seed = (uint32_t)now_ns();
		args->seed.value = seed;
	}
	opts.temperature = args->temp;
	opts.top_k = (uint32_t)args->top_k;
	opts.top_p = args->top_p;
	opts.min_p = args->min_p;
	opts.repeat_penalty = args->repeat_penalty;
	opts.repeat_last_n = (uint32_t)args->repeat_last_n;
	opts.seed = args->seed.value;
	if (linnet_sampler_create(out, m, &opts, &err)) {
		tool_error("%s", err.message);
		return TOOL_FAILED;
	}
	return TOOL_OK;
}

/* A signal handler has no other way to its data. */
static struct linnet_session *_Atomic interrupt_session;
static volatile sig_atomic_t interrupt_seen;
static struct sigaction interrupt_before;

static void on_interrupt(int sig)
{
	struct linnet_session *s = atomic_load(&interrupt_session);

	interrupt_seen = 1;
	if (s)
		linnet_session_interrupt(s);
}

void interrupt_begin(struct linnet_session *s)
{
	/* SA_RESETHAND: the second Ctrl-C finds the default action. No SA_RESTART:
	 * a read from the terminal ends, too. */
	struct sigaction sa = { .sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND };

	sigemptyset(&sa.sa_mask);
	interrupt_seen = 0;
	atomic_store(&interrupt_session, s);
	sigaction(SIGINT, &sa, &interrupt_before);
}

void interrupt_end(void)
{
	sigaction(SIGINT, &interrupt_before, NULL);
	atomic_store(&interrupt_session, NULL);
}

bool interrupted(void)
{
	return interrupt_seen;
}

static enum generate_end no_text(struct linnet_error *err, int code)
{
	err->code = code;
	snprintf(err->message, sizeof(err->message), "cannot turn tokens into text (%s)",
		 strerror(-code));
	return GENERATE_FAILED;
}

static bool emit(struct generate *g, int32_t id, const char *text, int n)
{
	while (g->trim && n > 0) {
		if (*text == ' ' || *text == '\n' || *text == '\t' || *text == '\r') {
			text++;
			n--;
		} else {
			g->trim = false;
		}
	}
	if (n > 0) {
		g->newline = text[n - 1] == '\n';
		if (!out_text(text, (size_t)n) || !out_flush())
			return false;
	}
	if (g->token)
		g->token(g->ctx, id, text, n > 0 ? (size_t)n : 0);
	return true;
}

/*
 * Decode id and a draft of what may follow it. *draft gets the tokens that the rows of
 * logits after the first one stand for.
 */
static int decode(struct generate *g, int32_t id, int32_t *draft, uint32_t *n_draft,
		  struct linnet_error *err)
{
	uint32_t room = linnet_session_capacity(g->session) - linnet_session_length(g->session);
	int32_t ids[1 + DRAFT_MAX] = { id };
	uint32_t n = g->drafts ? drafts_rows(g->drafts) : 0;
	uint64_t start;
	int ret;

	g->n_passes++;
	*n_draft = 0;
	if (!n)
		return linnet_session_decode(g->session, &id, 1, LINNET_LOGITS_LAST, err);
	start = now_ns();
	/* no token is drafted that could not be used */
	if (n > room - 1)
		n = room - 1;
	if (g->n_predict >= 0 && n > (uint64_t)g->n_predict - g->n_tokens - 1)
		n = (uint32_t)((uint64_t)g->n_predict - g->n_tokens - 1);
	*n_draft = drafts_next(g->drafts, draft, n);
	memcpy(ids + 1, draft, *n_draft * sizeof(*ids));
	ret = linnet_session_decode(g->session, ids, 1 + *n_draft, LINNET_LOGITS_ALL, err);
	drafts_passed(g->drafts, (double)(now_ns() - start) / 1e9);
	return ret;
}

int generate_prompt(struct generate *g, const int32_t *ids, size_t n, size_t n_known)
{
	const char *ignored;
	int ret;

	for (size_t i = 0; i < n; i++) {
		ret = linnet_detok_push(g->detok, ids[i], &ignored);
		if (ret < 0)
			return ret;
		if (i < n_known)
			continue;
		linnet_sampler_accept(g->sampler, ids[i]);
		if (g->drafts)
			drafts_push(g->drafts, ids[i]);
	}
	return 0;
}

enum generate_end generate(struct generate *g, struct linnet_error *err)
{
	enum generate_end end = GENERATE_COUNT;
	int32_t draft[DRAFT_MAX];
	uint32_t n_draft = 0, row = 0;
	const char *text;
	int n;

	while (g->n_predict < 0 || g->n_tokens < (uint64_t)g->n_predict) {
		const float *logits = linnet_session_logits(g->session, row);
		int32_t id;
		int ret;

		if (interrupted()) {
			end = GENERATE_INTERRUPT;
			break;
		}
		id = linnet_sampler_sample(g->sampler, logits);
		if (id < 0) {
			err->code = id;
			snprintf(err->message, sizeof(err->message), id == -EINVAL ?
				 "no token can be chosen: the model gives no number (logits)" :
				 "no token can be chosen (%s)", strerror(-id));
			return GENERATE_FAILED;
		}
		if (!g->n_tokens++)
			g->first_ns = now_ns();
		if (!g->ignore_eos && linnet_token_is_end(g->model, id)) {
			end = GENERATE_TOKEN;
			break;
		}
		n = linnet_detok_push(g->detok, id, &text);
		if (n < 0)
			return no_text(err, n);
		if (!emit(g, id, text, n))
			return GENERATE_OUTPUT;
		if (g->drafts)
			drafts_push(g->drafts, id);
		/* The last token of all needs no successor. */
		if (g->n_predict >= 0 && g->n_tokens == (uint64_t)g->n_predict)
			break;
		if (row < n_draft && id == draft[row]) {
			/* the draft was right: its row of logits is the next one */
			row++;
			drafts_accept(g->drafts);
			continue;
		}
		/* what was drafted beyond is not the text */
		linnet_session_truncate(g->session,
					linnet_session_length(g->session) - (n_draft - row));
		row = n_draft = 0;
		if (linnet_session_length(g->session) == linnet_session_capacity(g->session)) {
			end = GENERATE_CONTEXT;
			break;
		}
		ret = decode(g, id, draft, &n_draft, err);
		if (ret == -EINTR) {
			end = GENERATE_INTERRUPT;
			break;
		}
		if (ret)
			return GENERATE_FAILED;
	}
	/* once, and not of each token: in some guests the clock costs a system call */
	g->end_ns = now_ns();
	/* the session ends where the text does */
	if (row < n_draft)
		linnet_session_truncate(g->session,
					linnet_session_length(g->session) - (n_draft - row));
	n = linnet_detok_flush(g->detok, &text);
	if (n < 0)
		return no_text(err, n);
	if (n > 0 && !emit(g, -1, text, n))
		return GENERATE_OUTPUT;
	return end;
}

static double seconds(uint64_t from, uint64_t to)
{
	return to > from ? (double)(to - from) / 1e9 : 0;
}

static void line(const char *label, const char *text)
{
	fprintf(stderr, "%s%-13s%s%s\n", term_style(2, TERM_DIM), label,
		term_style(2, TERM_RESET), text);
}

/* What a run may take and read beyond its plan: pages of the C library, rows of embeddings. */
#define PLAN_SLACK (1u << 20)

static uint64_t planned_bytes(const struct summary *s, const struct generate *g)
{
	return s->plan.total + (g->drafts ? g->drafts->bytes : 0);
}

/* Bytes read in each pass after the prompt's, on average. What is read once may come a
 * little after a short prompt. */
static uint64_t pass_bytes(const struct summary *s, const struct generate *g,
			   const struct linnet_stats *st)
{
	const uint64_t once = s->plan.resident + s->plan.streamed;
	const uint64_t first = s->prefill_read < once ? once : s->prefill_read;

	return g->n_passes && st->bytes_read > first ? (st->bytes_read - first) / g->n_passes : 0;
}

static bool takes_more(const struct summary *s, const struct generate *g,
		       const struct linnet_stats *st)
{
	const uint64_t planned = planned_bytes(s, g);

	return st->peak_bytes > planned + planned / 50 + PLAN_SLACK;
}

/* What is read of experts depends on the text. */
static bool reads_more(const struct summary *s, const struct generate *g,
		       const struct linnet_stats *st)
{
	return !s->plan.experts &&
	       pass_bytes(s, g, st) > s->plan.streamed + s->plan.streamed / 50 + PLAN_SLACK;
}

/* Was the run as it was planned, and where not? */
static void print_plan(const struct summary *s, const struct generate *g,
		       const struct linnet_stats *st)
{
	const bool more = takes_more(s, g, st), again = reads_more(s, g, st);
	char text[256], a[32], b[32], c[32], d[32];
	int n;

	format_bytes(a, st->peak_bytes);
	format_bytes(b, planned_bytes(s, g));
	format_bytes(c, pass_bytes(s, g, st));
	format_bytes(d, s->plan.streamed);
	if (!more && !again) {
		n = snprintf(text, sizeof(text), "kept: at most %s of memory", b);
		if (g->n_passes && s->plan.streamed)
			snprintf(text + n, sizeof(text) - (size_t)n,
				 ", %s read in each of %llu passes", d,
				 (unsigned long long)g->n_passes);
	} else {
		n = snprintf(text, sizeof(text), "not kept:");
		if (more)
			n += snprintf(text + n, sizeof(text) - (size_t)n,
				      " %s of memory, planned %s", a, b);
		if (again)
			snprintf(text + n, sizeof(text) - (size_t)n,
				 "%s %s read in each pass, planned %s", more ? ";" : "", c, d);
	}
	line("plan", text);
}

void summary_print(const struct summary *s, const struct generate *g,
		   const struct sampling_args *args)
{
	struct linnet_model_info info = model_info(g->model);
	struct linnet_stats st = LINNET_INIT(st);
	char text[256], a[32], b[32], c[40] = "";
	double prefill = seconds(s->opened_ns, s->prefill_ns);
	double decode = seconds(g->first_ns, g->end_ns);

	if (tool_quiet)
		return;
	linnet_session_stats(g->session, &st);
	if (info.n_nodes > 1)
		snprintf(c, sizeof(c), " on %u memory nodes", info.n_nodes);
	snprintf(text, sizeof(text), "%s %s, %s parameters, %s (%s, %s, %u thread%s%s)",
		 info.architecture, info.type_name, format_count(a, info.n_params),
		 format_bytes(b, info.weight_bytes), info.engine, info.isa, info.n_threads,
		 info.n_threads == 1 ? "" : "s", c);
	fputc('\n', stderr);
	line("model", text);
	snprintf(text, sizeof(text), "%.3f s", seconds(s->start_ns, s->opened_ns));
	line("load", text);
	if (g->n_tokens) {
		snprintf(text, sizeof(text), "%.3f s after the start",
			 seconds(s->start_ns, g->first_ns));
		line("first token", text);
	}
	snprintf(text, sizeof(text), "%llu token%s in %.3f s, %.1f tokens/s",
		 (unsigned long long)s->n_prompt, s->n_prompt == 1 ? "" : "s", prefill,
		 prefill > 0 ? (double)s->n_prompt / prefill : 0);
	line("prefill", text);
	/* The prefill has paid for the first token. */
	if (g->n_tokens > 1)
		snprintf(text, sizeof(text), "%llu tokens in %.3f s, %.1f tokens/s",
			 (unsigned long long)g->n_tokens - 1, decode,
			 decode > 0 ? (double)(g->n_tokens - 1) / decode : 0);
	else
		snprintf(text, sizeof(text), "0 tokens");
	line("decode", text);
	for (int i = 0; g->drafts && i < 2; i++) {
		if (!g->drafts->n_drafted[i])
			continue;
		snprintf(text, sizeof(text), "%llu of %llu drafted tokens accepted",
			 (unsigned long long)g->drafts->n_accepted[i],
			 (unsigned long long)g->drafts->n_drafted[i]);
		line(i ? "draft" : "lookup", text);
	}
	if (s->n_restored || st.kv_saved || st.kv_rejected) {
		snprintf(text, sizeof(text), "%llu tokens restored, %llu saved",
			 (unsigned long long)s->n_restored, (unsigned long long)st.kv_saved);
		line("kv cache", text);
	}
	if (st.kv_rejected) {
		snprintf(text, sizeof(text), "%u file%s ignored; the last: %s", st.kv_rejected,
			 st.kv_rejected == 1 ? "" : "s", st.kv_note);
		line("", text);
	}
	if (st.kv_written) {
		snprintf(text, sizeof(text), "%s written, %s read", format_bytes(a, st.kv_written),
			 format_bytes(b, st.kv_read));
		line("kv disk", text);
	}
	line("peak memory", format_bytes(a, st.peak_bytes));
	if (s->plan.total)
		print_plan(s, g, &st);
	if (st.pool_bytes) {
		snprintf(text, sizeof(text), "%s more for weights (vm.nr_hugepages)",
			 format_bytes(a, st.pool_bytes));
		line("page pool", text);
	}
	if (st.bytes_read && st.read_ns)
		snprintf(text, sizeof(text), "%s, %.2f GB/s (%s, %s%s)",
			 format_bytes(a, st.bytes_read),
			 (double)st.bytes_read / (double)st.read_ns,
			 st.io_uring ? "io_uring" : "preadv2",
			 st.direct_io ? "O_DIRECT" : "page cache",
			 st.huge_pages ? ", huge pages" : "");
	else
		snprintf(text, sizeof(text), "%s", format_bytes(a, st.bytes_read));
	line("read", text);
	if (st.shared_bytes)
		line("shared", format_bytes(a, st.shared_bytes));
	if (st.read_retries) {
		snprintf(text, sizeof(text), "%llu read%s tried again",
			 (unsigned long long)st.read_retries,
			 st.read_retries == 1 ? " was" : "s were");
		line("retries", text);
	}
	if (st.expert_misses) {
		snprintf(text, sizeof(text), "%.1f %% of %llu were in memory",
			 100.0 * (double)st.expert_hits /
				 (double)(st.expert_hits + st.expert_misses),
			 (unsigned long long)(st.expert_hits + st.expert_misses));
		line("experts", text);
	}
	if (st.expert_ahead) {
		snprintf(text, sizeof(text),
			 "%llu were read ahead, %.1f %% of them were then chosen",
			 (unsigned long long)st.expert_ahead,
			 100.0 * (double)st.expert_ahead_used / (double)st.expert_ahead);
		line("", text);
	}
	if (st.verified_bytes)
		line("verified", format_bytes(a, st.verified_bytes));
	if (st.note[0])
		line("note", st.note);
	if (args->temp > 0) {
		snprintf(text, sizeof(text), "%llu", (unsigned long long)args->seed.value);
		line("seed", text);
	}
}

int summary_write(const struct summary *s, const struct generate *g,
		  const struct sampling_args *args, const char *path)
{
	struct linnet_model_info info = model_info(g->model);
	struct linnet_stats st = LINNET_INIT(st);
	const double prefill = seconds(s->opened_ns, s->prefill_ns);
	const double decode = seconds(g->first_ns, g->end_ns);
	const uint64_t n_decode = g->n_tokens > 1 ? g->n_tokens - 1 : 0;
	json_t *o = json_new_object();
	FILE *f;
	int ret;

	linnet_session_stats(g->session, &st);
	json_put(o, "engine", json_text(info.engine));
	json_put(o, "isa", json_text(info.isa));
	json_put(o, "n_threads", json_integer(info.n_threads));
	json_put(o, "n_nodes", json_integer(info.n_nodes));
	json_put(o, "load_s", json_number(seconds(s->start_ns, s->opened_ns)));
	json_put(o, "first_token_s", g->n_tokens ?
		 json_number(seconds(s->start_ns, g->first_ns)) : json_null());
	json_put(o, "prefill_tokens", json_integer((json_int_t)s->n_prompt));
	json_put(o, "prefill_s", json_number(prefill));
	json_put(o, "decode_tokens", json_integer((json_int_t)n_decode));
	json_put(o, "decode_s", json_number(n_decode ? decode : 0));
	if (g->drafts) {
		const struct drafts *d = g->drafts;

		json_put(o, "drafted_tokens",
			 json_integer((json_int_t)(d->n_drafted[0] + d->n_drafted[1])));
		json_put(o, "accepted_tokens",
			 json_integer((json_int_t)(d->n_accepted[0] + d->n_accepted[1])));
		json_put(o, "draft_pauses", json_integer(d->n_pauses));
		json_put(o, "draft_model_drafted_tokens",
			 json_integer((json_int_t)d->n_drafted[1]));
		json_put(o, "draft_model_accepted_tokens",
			 json_integer((json_int_t)d->n_accepted[1]));
	}
	json_put(o, "kv_restored_tokens", json_integer((json_int_t)s->n_restored));
	json_put(o, "kv_saved_tokens", json_integer((json_int_t)st.kv_saved));
	json_put(o, "kv_bytes_written", json_integer((json_int_t)st.kv_written));
	json_put(o, "kv_bytes_read", json_integer((json_int_t)st.kv_read));
	json_put(o, "kv_rejected_files", json_integer(st.kv_rejected));
	json_put(o, "peak_bytes", json_integer((json_int_t)st.peak_bytes));
	if (s->plan.total) {
		json_put(o, "planned_bytes", json_integer((json_int_t)planned_bytes(s, g)));
		json_put(o, "planned_pass_bytes", json_integer((json_int_t)s->plan.streamed));
		json_put(o, "pass_bytes", json_integer((json_int_t)pass_bytes(s, g, &st)));
		json_put(o, "passes", json_integer((json_int_t)g->n_passes));
		json_put(o, "plan_kept",
			 json_boolean(!takes_more(s, g, &st) && !reads_more(s, g, &st)));
	}
	json_put(o, "pool_bytes", json_integer((json_int_t)st.pool_bytes));
	json_put(o, "shared_bytes", json_integer((json_int_t)st.shared_bytes));
	json_put(o, "purged_bytes", json_integer((json_int_t)st.purged_bytes));
	json_put(o, "bytes_read", json_integer((json_int_t)st.bytes_read));
	json_put(o, "read_s", json_number((double)st.read_ns / 1e9));
	json_put(o, "read_retries", json_integer((json_int_t)st.read_retries));
	json_put(o, "expert_hits", json_integer((json_int_t)st.expert_hits));
	json_put(o, "expert_misses", json_integer((json_int_t)st.expert_misses));
	json_put(o, "expert_ahead", json_integer((json_int_t)st.expert_ahead));
	json_put(o, "expert_ahead_used", json_integer((json_int_t)st.expert_ahead_used));
	json_put(o, "verified_bytes", json_integer((json_int_t)st.verified_bytes));
	json_put(o, "io_uring", json_boolean(st.io_uring));
	json_put(o, "direct_io", json_boolean(st.direct_io));
	json_put(o, "huge_pages", json_boolean(st.huge_pages));
	json_put(o, "note", json_text(st.note));
	json_put(o, "seed", args->temp > 0 ? json_integer((json_int_t)args->seed.value) :
					     json_null());
	errno = 0;
	f = fopen(path, "w");
	ret = f ? json_dumpf(o, f, JSON_INDENT(2)) : -1;
	if (f) {
		ret |= fputc('\n', f) == EOF;
		ret |= fclose(f);
	}
	json_decref(o);
	if (!ret)
		return TOOL_OK;
	tool_error_errno(path, "cannot write the summary (--stats)", errno ? -errno : -EIO);
	return TOOL_FAILED;
}
