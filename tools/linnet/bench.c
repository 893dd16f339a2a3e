// SPDX-License-Identifier: MIT
/*
 * linnet bench: prompt ("pp") and generation ("tg") speed, each a test of its own
 * that is repeated. Options, tests and keys of the output are those of llama-bench,
 * so that scripts read both. A test at depth d starts with d tokens in the context,
 * which are not timed. Tokens are random numbers: speed does not depend on them.
 */
#include "json.h"
#include "model.h"
#include "options.h"
#include "roofline.h"
#include "term.h"
#include "tool.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "build-info.h"

static const char *const format_names[] = { "md", "csv", "json", "jsonl", NULL };

struct bench {
	struct model_args margs;
	struct session_args sargs;
	int64_t reps;
	bool no_warmup;
	int format;
	char *cpu;
	unsigned n_done, n_tests;
};

struct result {
	struct linnet_model_info info;
	uint32_t n_prompt, n_gen, n_depth;
	uint32_t n_seqs;	/* that are written at once */
	char time[32];
	double *ns;		/* one for each repetition */
	size_t n;
	/* What the machine could do, sums over the repetitions; 0: not measured. The share of
	 * it that was reached: of memory's speed by generation, of int8's by prompts. */
	double read, int8, share;
};

static double mean(const double *v, size_t n)
{
	double sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += v[i];
	return n ? sum / (double)n : 0;
}

static double deviation(const double *v, size_t n)
{
	double m = mean(v, n), sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += (v[i] - m) * (v[i] - m);
	return n > 1 ? sqrt(sum / (double)(n - 1)) : 0;
}

/* The processor's name, as /proc/cpuinfo has it. */
static char *cpu_name(void)
{
	char line[512], *p;
	FILE *f = fopen("/proc/cpuinfo", "re");
	char *name = NULL;

	while (f && !name && fgets(line, sizeof(line), f)) {
		p = strchr(line, ':');
		if (!p || strncmp(line, "model name", 10))
			continue;
		p += 1 + strspn(p + 1, " ");
		p[strcspn(p, "\n")] = '\0';
		name = tool_strdup(p);
	}
	if (f)
		fclose(f);
	return name ? name : tool_strdup("unknown");
}

/* llama-bench's names: "llama Q4_0" has the architecture and the weights' type. */
static char *model_type(char buf[static 128], const struct linnet_model_info *info)
{
	snprintf(buf, 128, "%s %s", info->architecture, info->type_name);
	return buf;
}

/* Mean of what was measured with each repetition */
static json_t *rate_json(double sum, size_t n)
{
	return sum > 0 ? json_number(sum / (double)n) : json_null();
}

static json_t *result_json(const struct bench *b, const struct result *r)
{
	json_t *o = json_new_object(), *ns = json_new_array(), *ts = json_new_array();
	double *speed = tool_alloc(r->n * sizeof(*speed));
	double tokens = (double)r->n_prompt + (double)r->n_gen * r->n_seqs;
	char type[128];

	for (size_t i = 0; i < r->n; i++) {
		speed[i] = tokens * 1e9 / r->ns[i];
		json_add(ns, json_integer((json_int_t)r->ns[i]));
		json_add(ts, json_number(speed[i]));
	}
	json_put(o, "build_commit", json_text(BUILD_COMMIT));
	json_put(o, "build_number", json_integer(BUILD_NUMBER));
	json_put(o, "cpu_info", json_text(b->cpu));
	json_put(o, "gpu_info", json_text(""));
	json_put(o, "backends", json_text(r->info.engine));
	json_put(o, "isa", json_text(r->info.isa));
	json_put(o, "model_filename", json_text(b->margs.path));
	json_put(o, "model_type", json_text(model_type(type, &r->info)));
	json_put(o, "model_size", json_integer((json_int_t)r->info.weight_bytes));
	json_put(o, "model_n_params", json_integer((json_int_t)r->info.n_params));
	json_put(o, "n_batch", json_integer(b->sargs.batch ? b->sargs.batch : 512));
	json_put(o, "n_ubatch", json_integer(b->sargs.batch ? b->sargs.batch : 512));
	json_put(o, "n_threads", json_integer(r->info.n_threads));
	json_put(o, "type_k", json_text(kv_type_names[b->sargs.kv_type]));
	json_put(o, "type_v", json_text(kv_type_names[b->sargs.kv_type]));
	json_put(o, "n_prompt", json_integer(r->n_prompt));
	json_put(o, "n_gen", json_integer(r->n_gen));
	json_put(o, "n_depth", json_integer(r->n_depth));
	json_put(o, "n_sequences", json_integer(r->n_seqs));
	json_put(o, "test_time", json_text(r->time));
	json_put(o, "avg_ns", json_integer((json_int_t)mean(r->ns, r->n)));
	json_put(o, "stddev_ns", json_integer((json_int_t)deviation(r->ns, r->n)));
	json_put(o, "avg_ts", json_number(mean(speed, r->n)));
	json_put(o, "stddev_ts", json_number(deviation(speed, r->n)));
	json_put(o, "samples_ns", ns);
	json_put(o, "samples_ts", ts);
	json_put(o, "token_bytes", json_integer((json_int_t)r->info.token_bytes));
	json_put(o, "token_ops", json_integer((json_int_t)(2 * r->info.token_products)));
	json_put(o, "read_bytes_per_s", rate_json(r->read, r->n));
	json_put(o, "int8_ops_per_s", rate_json(r->int8, r->n));
	json_put(o, r->n_prompt ? "share_of_int8" : "share_of_read", rate_json(r->share, r->n));
	json_put(o, r->n_prompt ? "share_of_read" : "share_of_int8", json_null());
	free(speed);
	return o;
}

static void print_md(const struct bench *b, const struct result *r, const json_t *o, bool first)
{
	char type[128], size[32], test[64], count[32], limit[32] = "";
	int n;

	if (first)
		out_printf("| %-24s | %10s | %9s | %-7s | %7s | %7s | %14s | %20s | %9s |\n"
			   "| :----------------------- | ---------: | --------: | :------ | "
			   "------: | ------: | -------------: | -------------------: | "
			   "--------: |\n",
			   "model", "size", "params", "engine", "threads", "kv type", "test",
			   "t/s", "of limit");
	if (r->share > 0)
		snprintf(limit, sizeof(limit), "%.0f %% %s", 100 * r->share / (double)r->n,
			 r->n_prompt ? "int8" : "read");
	n = snprintf(test, sizeof(test), "%s%u", r->n_prompt ? "pp" : "tg",
		     r->n_prompt ? r->n_prompt : r->n_gen);
	if (r->n_seqs > 1)
		n += snprintf(test + n, sizeof(test) - (size_t)n, " x%u", r->n_seqs);
	if (r->n_depth)
		snprintf(test + n, sizeof(test) - (size_t)n, " @ d%u", r->n_depth);
	if (r->info.n_params >= 1000000000)
		snprintf(count, sizeof(count), "%.2f B", (double)r->info.n_params / 1e9);
	else
		snprintf(count, sizeof(count), "%.2f M", (double)r->info.n_params / 1e6);
	out_printf("| %-24s | %10s | %9s | %-7s | %7u | %7s | %14s | %11.2f ± %6.2f | %9s |\n",
		   model_type(type, &r->info), format_bytes(size, r->info.weight_bytes), count,
		   r->info.isa, r->info.n_threads, kv_type_names[b->sargs.kv_type], test,
		   json_real_value(json_object_get(o, "avg_ts")),
		   json_real_value(json_object_get(o, "stddev_ts")), limit);
}

static void print_result(const struct bench *b, const struct result *r, bool first)
{
	json_t *o = result_json(b, r);

	term_clear_line();
	switch (b->format) {
	case FORMAT_MD:
		print_md(b, r, o, first);
		break;
	case FORMAT_CSV:
		json_csv(o, first);
		break;
	case FORMAT_JSON:
		out_printf(first ? "[\n" : ",\n");
		json_out(o, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
		break;
	default:
		json_out(o, JSON_COMPACT | JSON_REAL_PRECISION(9));
		out_printf("\n");
	}
	json_decref(o);
	out_flush();
}

/* Bring the context of all sequences to n tokens; what is there already stays. */
static int fill(struct linnet_session *s, const int32_t *ids, uint32_t n, uint32_t n_seqs,
		struct linnet_error *err)
{
	uint32_t have;
	int ret = 0;

	linnet_session_select(s, 0);
	have = linnet_session_length(s);
	if (have > n)
		linnet_session_truncate(s, n);
	else if (have < n)
		ret = linnet_session_decode(s, ids + have, n - have, LINNET_LOGITS_NONE, err);
	for (uint32_t i = 1; i < n_seqs && !ret; i++)
		ret = linnet_session_fork(s, i);
	return ret;
}

/* Token i of every sequence, each its own. */
static int step(struct linnet_session *s, const struct result *r, struct linnet_tokens *in,
		int32_t *tokens, int32_t id, struct linnet_error *err)
{
	for (uint32_t i = 0; i < r->n_seqs; i++) {
		tokens[i] = (int32_t)(((uint32_t)id + i) % r->info.n_vocab);
		in[i] = (struct linnet_tokens){ i, &tokens[i], 1, LINNET_LOGITS_LAST };
	}
	return linnet_session_step(s, in, r->n_seqs, err);
}

static int once(struct linnet_session *s, const struct result *r, const int32_t *ids,
		uint32_t n_gen, double *ns, struct linnet_error *err)
{
	struct linnet_tokens *in = tool_alloc(r->n_seqs * sizeof(*in));
	int32_t *tokens = tool_alloc(r->n_seqs * sizeof(*tokens));
	uint64_t start;
	int ret;

	ret = fill(s, ids, r->n_depth, r->n_seqs, err);
	start = now_ns();
	if (!ret && r->n_prompt)
		ret = linnet_session_decode(s, ids + r->n_depth, r->n_prompt, LINNET_LOGITS_LAST,
					    err);
	for (uint32_t i = 0; i < n_gen && !ret; i++)
		ret = step(s, r, in, tokens, ids[r->n_depth + i], err);
	*ns = (double)(now_ns() - start);
	/* A clock that stood still must not divide by zero. */
	if (*ns < 1)
		*ns = 1;
	free(in);
	free(tokens);
	return ret;
}

/*
 * Whether the machine's limits say something about a test: the host computes, all weights
 * stay in memory, and each pass of a generation is one token.
 */
static bool has_limits(struct linnet_model *m, const struct result *r)
{
	struct linnet_memory_info mem = LINNET_INIT(mem);

	return !strcmp(r->info.engine, "host") && r->n_seqs == 1 &&
	       !linnet_model_memory(m, NULL, &mem, NULL) && !mem.streamed && !mem.experts;
}

/* Hold a repetition against the machine's limits, measured before and after it. */
static void add_limits(struct result *r, double ns, const struct linnet_machine_rates *before,
		       const struct linnet_machine_rates *after)
{
	const double read = (before->read + after->read) / 2;
	const double int8 = (before->int8 + after->int8) / 2;
	const double s = ns / 1e9;
	double ops;

	r->read += read;
	r->int8 += int8;
	ops = 2 * ((double)r->n_prompt * (double)r->info.token_products +
		   (double)r->info.output_products);
	/* only products of integers can be held against those of registers */
	if (r->n_prompt && strchr("FB", r->info.type_name[0]))
		return;
	if (r->n_gen)
		r->share += (double)r->n_gen * (double)r->info.token_bytes / s / read;
	else if (int8 > 0)
		r->share += ops / s / int8;
}

static int measure(struct bench *b, struct linnet_model *m, struct result *r, bool first)
{
	struct linnet_kernels_options limits = LINNET_INIT(limits);
	struct linnet_machine_rates before = LINNET_INIT(before), after = LINNET_INIT(after);
	bool limited;
	uint32_t n = r->n_depth + r->n_prompt + r->n_gen;
	int32_t *ids = tool_alloc(n * sizeof(*ids));
	struct session_args sargs = b->sargs;
	struct linnet_error err = { 0 };
	struct linnet_session *s = NULL;
	uint32_t random = 1;
	time_t now = time(NULL);
	struct tm utc;
	double ignored;
	char text[64];
	int ret, status;

	r->info = model_info(m);
	for (uint32_t i = 0; i < n; i++) {
		random = random * 1664525 + 1013904223;
		ids[i] = (int32_t)((random >> 8) % r->info.n_vocab);
	}
	sargs.ctx = n;
	sargs.n_seqs = r->n_seqs;
	/* the pages of the depth are shared, but for the last one where it is not full */
	sargs.n_kv = r->n_depth / 256 * 256 +
		     (uint64_t)r->n_seqs * ((n - r->n_depth / 256 * 256 + 255) / 256 * 256);
	status = model_session(&s, m, &b->margs, &sargs, n, r->n_seqs);
	if (status)
		goto out;
	status = TOOL_FAILED;
	/* only now: what stays in memory depends on the session */
	if (linnet_model_load(m, NULL, NULL, &err))
		goto err_message;
	strftime(r->time, sizeof(r->time), "%Y-%m-%dT%H:%M:%SZ", gmtime_r(&now, &utc));
	if (!b->no_warmup) {
		ret = once(s, r, ids, r->n_gen ? 1 : 0, &ignored, &err);
		if (ret)
			goto err_message;
	}
	limits.n_threads = r->info.n_threads;
	limited = has_limits(m, r) && !linnet_machine_measure(&limits, &before, NULL);
	for (int64_t i = 0; i < b->reps; i++) {
		snprintf(text, sizeof(text), "%s%u, repetition %lld of %lld",
			 r->n_prompt ? "pp" : "tg", r->n_prompt ? r->n_prompt : r->n_gen,
			 (long long)i + 1, (long long)b->reps);
		term_progress("tests", b->n_done, b->n_tests, text);
		ret = once(s, r, ids, r->n_gen, &r->ns[i], &err);
		if (ret)
			goto err_message;
		r->n = (size_t)i + 1;
		limited = limited && !linnet_machine_measure(&limits, &after, NULL);
		if (limited)
			add_limits(r, r->ns[i], &before, &after);
		before = after;
	}
	if (!limited)
		r->read = r->int8 = r->share = 0;
	print_result(b, r, first);
	status = TOOL_OK;
	goto out;

err_message:
	tool_error("%s", err.message);
out:
	linnet_session_destroy(s);
	free(ids);
	return status;
}

static void one_value(struct opt_list *l, int64_t v)
{
	if (l->set)
		return;
	l->v = tool_alloc(sizeof(*l->v));
	l->v[0] = v;
	l->n = 1;
}

static int run_tests(struct bench *b, const struct opt_list *threads, const struct opt_list *depths,
		     const struct opt_list *prompts, const struct opt_list *gens,
		     const struct opt_list *seqs)
{
	const struct opt_list *kinds[] = { prompts, gens };
	double *ns = tool_alloc((size_t)b->reps * sizeof(*ns));
	struct linnet_model *m = NULL;
	bool first = true;
	int status = TOOL_OK;

	for (size_t t = 0; t < threads->n && !status; t++) {
		b->margs.threads = threads->v[t];
		status = model_open(&m, &b->margs, false);
		for (size_t d = 0; d < depths->n && !status; d++) {
			for (size_t k = 0; k < 2 && !status; k++) {
				/* a prompt is one sequence's */
				size_t each = k ? seqs->n : 1;

				for (size_t i = 0; i < kinds[k]->n * each && !status; i++) {
					uint32_t n = (uint32_t)kinds[k]->v[i / each];
					struct result r = {
						.n_depth = (uint32_t)depths->v[d], .ns = ns,
						.n_prompt = k ? 0 : n, .n_gen = k ? n : 0,
						.n_seqs = k ? (uint32_t)seqs->v[i % each] : 1,
					};

					if (!n)
						continue;
					status = measure(b, m, &r, first);
					first = false;
					b->n_done++;
				}
			}
		}
		linnet_model_close(m);
		m = NULL;
	}
	term_clear_line();
	if (b->format == FORMAT_JSON && !status)
		out_printf(first ? "[]\n" : "\n]\n");
	free(ns);
	return status;
}

int cmd_bench(int argc, char **argv)
{
	struct bench b = { .reps = 5 };
	struct opt_list threads = { 0 }, depths = { 0 }, prompts = { 0 }, gens = { 0 };
	struct opt_list seqs = { 0 };
	struct roofline_args roof = { 0 };
	bool kernels = false;
	const struct opt opts[] = {
		OPTS_MODEL_FILE(&b.margs),
		OPTS_MEMORY(&b.margs),
		OPTS_ENGINE(&b.margs),
		{ OPT_LIST, 't', "threads", "LIST",
		  "threads that compute (default: one for each CPU)",
		  &threads, 1, 1024 },
		OPTS_READING(&b.margs),
		OPTS_KV(&b.sargs, "f16"),
		{ OPT_GROUP, .help = "Tests (LIST: numbers separated by commas)" },
		{ OPT_LIST, 'p', "n-prompt", "LIST",
		  "tokens of the prompt tests; 0: none (default: 512)",
		  &prompts, 0, 1 << 24 },
		{ OPT_LIST, 'n', "n-gen", "LIST",
		  "tokens of the generation tests; 0: none (default: 128)",
		  &gens, 0, 1 << 24 },
		{ OPT_LIST, 'd', "depth", "LIST",
		  "tokens in the context before a test (default: 0)",
		  &depths, 0, 1 << 24 },
		{ OPT_LIST, 0, "sequences", "LIST",
		  "sequences that generation tests write at once, a token of\n"
		  "each in a pass (default: 1)", &seqs, 1, 1024 },
		{ OPT_INT, 'r', "repetitions", "N", "repetitions of each test (default: 5)",
		  &b.reps, 1,
		  100000 },
		{ OPT_FLAG, 0, "no-warmup", NULL, "time the first run, too", &b.no_warmup },
		{ OPT_GROUP, .help = "Kernels" },
		{ OPT_FLAG, 0, "kernels", NULL,
		  "measure the products of each type of weights, and attention\n"
		  "over each type of keys and values, alone, beside what the\n"
		  "machine's memory and registers reach", &kernels },
		{ OPT_TEXT, 0, "type", "TYPE",
		  "only this type of weights, keys and values (default: all)", &roof.type },
		{ OPT_TEXT, 0, "roofline", "FILE", "draw what --kernels measured as an SVG picture",
		  &roof.svg },
		{ OPT_GROUP, .help = "Output" },
		{ OPT_CHOICE, 'o', "output", "FORMAT",
		  "md, csv, json or jsonl (default: md)", &b.format,
		  .choices = format_names },
		OPT_COMMON
	};
	const struct cli cli = {
		"bench", "[-m FILE] [-p LIST] [-n LIST] [-d LIST] [-t LIST] [options]\n"
		"       linnet bench --kernels [--type TYPE] [-t LIST] [--roofline FILE] [options]",
		"Measure how fast prompts are computed and text is generated: mean and standard\n"
		"deviation of the tokens per second of each test. The keys of the JSON output are\n"
		"those of llama-bench.",
		"  linnet bench -m model.gguf\n"
		"  linnet bench -m model.gguf -p 512 -n 128 -t 1,2 -r 3 -o json\n"
		"  linnet bench -m model.gguf -p 0 -n 64 --depth 0,4096\n"
		"  linnet bench -m model.gguf -p 0 -n 64 --sequences 1,2,4,8,16 -o jsonl\n"
		"  linnet bench --kernels --type Q4_0 --roofline q4_0.svg\n",
		opts, &b.margs.path
	};
	int status;

	if (!cli_parse(&cli, argc, argv, &status))
		goto out;
	one_value(&threads, 0);
	if (kernels || roof.svg) {
		roof.threads = &threads;
		roof.format = b.format;
		status = roofline(&roof);
	} else {
		one_value(&depths, 0);
		one_value(&prompts, 512);
		one_value(&gens, 128);
		one_value(&seqs, 1);
		b.cpu = cpu_name();
		b.n_tests = (unsigned)(threads.n * depths.n * (prompts.n + gens.n * seqs.n));
		status = run_tests(&b, &threads, &depths, &prompts, &gens, &seqs);
		free(b.cpu);
	}
out:
	free(threads.v);
	free(depths.v);
	free(prompts.v);
	free(gens.v);
	free(seqs.v);
	return out_finish(status);
}
