// SPDX-License-Identifier: MIT
/*
 * linnet plan: what a session would keep in memory, what it would read again in every
 * pass, and how fast that may go on this machine; before any weight is used.
 */
#include "draft.h"
#include "json.h"
#include "model.h"
#include "probe.h"
#include "term.h"
#include "tool.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Memory for the probe of the memory's rate: more than caches hold, unless the budget
 * is small. */
#define PROBE_BYTES (256u << 20)

struct speed {
	double disk, memory;		/* bytes per second; 0: not known */
	struct probe_disk reads;
	double tokens;			/* per second, at most */
	bool disk_bound;
};

/* Bytes that the computation of one token touches. */
static uint64_t touched(const struct linnet_plan *p, const struct linnet_model_info *info)
{
	struct linnet_plan_unit u = LINNET_INIT(u);
	uint64_t bytes = 0;

	uint64_t embeddings = 0, output = 0;

	for (size_t i = 0; !linnet_plan_unit(p, i, &u); i++) {
		if (!strcmp(u.name, "embeddings")) {
			embeddings = u.bytes;
			continue;
		}
		output = u.bytes;
		/* of experts it uses a few */
		bytes += strcmp(u.name, "experts") ? u.bytes :
			 u.bytes * info->n_expert_used / info->n_expert;
	}
	/* Of the embeddings, a token touches one row, unless the output is made of them: a
	 * norm alone is no output. */
	if (output < embeddings / 2)
		bytes += embeddings;
	return bytes;
}

static struct speed measure(const struct linnet_model *m, const struct linnet_plan *p,
			    const struct linnet_memory_info *mem, const struct model_args *args)
{
	struct linnet_model_info info = model_info(m);
	uint64_t bytes = mem->budget / 4 < PROBE_BYTES ? mem->budget / 4 : PROBE_BYTES;
	uint64_t used = touched(p, &info);
	struct speed s = { 0 };
	/* as if experts were used evenly: they are not, and fewer are read */
	uint64_t reads = mem->streamed + mem->experts_read;
	double compute, read;

	s.memory = probe_memory(info.n_threads, bytes);
	s.reads = probe_disk(args->path, mem->ring < bytes ? mem->ring : bytes,
			     (unsigned)args->read_depth);
	s.disk = s.reads.rate;
	if (args->read_bandwidth && (double)args->read_bandwidth < s.disk)
		s.disk = (double)args->read_bandwidth;
	if (s.memory == 0 || (reads && s.disk == 0))
		return s;
	compute = (double)used / s.memory;
	read = reads ? (double)reads / s.disk : 0;
	s.disk_bound = read > compute;
	s.tokens = 1 / (s.disk_bound ? read : compute);
	return s;
}

static int print_json(const struct linnet_plan *p, uint64_t least,
		      const struct linnet_memory_info *mem, const struct speed *s,
		      const char *path, unsigned n_nodes)
{
	struct linnet_plan_unit u = LINNET_INIT(u);
	json_t *o = json_new_object(), *list = json_new_array(), *j;

	json_put(o, "file", json_text(path));
	json_put(o, "budget", mem->budget == LINNET_MEMORY_UNLIMITED ? json_null() :
		 json_integer((json_int_t)mem->budget));
	json_put(o, "least", json_integer((json_int_t)least));
	json_put(o, "total", json_integer((json_int_t)mem->total));
	json_put(o, "resident", json_integer((json_int_t)mem->resident));
	json_put(o, "ring", json_integer((json_int_t)mem->ring));
	json_put(o, "experts", json_integer((json_int_t)mem->experts));
	json_put(o, "experts_bytes", json_integer((json_int_t)mem->experts_bytes));
	json_put(o, "experts_read", json_integer((json_int_t)mem->experts_read));
	json_put(o, "kv", json_integer((json_int_t)mem->kv));
	json_put(o, "kv_disk", json_integer((json_int_t)mem->kv_disk));
	json_put(o, "scratch", json_integer((json_int_t)mem->scratch));
	json_put(o, "other", json_integer((json_int_t)mem->other));
	json_put(o, "streamed", json_integer((json_int_t)mem->streamed));
	for (size_t i = 0; !linnet_plan_unit(p, i, &u); i++) {
		j = json_new_object();
		json_put(j, "name", json_text(u.name));
		json_put(j, "layer", u.layer < 0 ? json_null() : json_integer(u.layer));
		json_put(j, "bytes", json_integer((json_int_t)u.bytes));
		json_put(j, "streamed", json_boolean(u.streamed));
		json_put(j, "cached", json_boolean(u.cached));
		json_add(list, j);
	}
	json_put(o, "units", list);
	json_put(o, "n_nodes", json_integer(n_nodes));
	if (s) {
		json_put(o, "disk_bytes_per_second", json_number(s->disk));
		json_put(o, "memory_bytes_per_second", json_number(s->memory));
		json_put(o, "read_request_bytes", json_integer(PROBE_REQUEST));
		json_put(o, "read_depth", json_integer(s->reads.depth));
		list = json_new_array();
		for (int i = 0; i < PROBE_OTHERS; i++) {
			j = json_new_object();
			json_put(j, "depth", json_integer(s->reads.other[i].depth));
			json_put(j, "bytes_per_second", json_number(s->reads.other[i].rate));
			json_add(list, j);
		}
		json_put(o, "other_depths", list);
		json_put(o, "better_depth", s->reads.better ? json_integer(s->reads.better) :
							      json_null());
		json_put(o, "tokens_per_second_bound", json_number(s->tokens));
		json_put(o, "bound_by", json_text(s->disk_bound ? "disk" : "memory"));
	}
	json_out(o, JSON_INDENT(2));
	out_printf("\n");
	json_decref(o);
	return out_finish(TOOL_OK);
}

static void row(const char *label, uint64_t bytes)
{
	char a[32], b[32];

	out_printf("  %-18s %12s %18s bytes\n", label, format_bytes(a, bytes),
		   format_count(b, bytes));
}

/* A line for each layer: '#' for a part of the largest layer that stays, '.' for one that is
 * read again, '+' for one of experts that are cached. */
static void picture(const struct linnet_plan *p)
{
	struct linnet_plan_unit u = LINNET_INIT(u);
	uint64_t most = 1, sum = 0;
	int32_t layer = -2;
	bool cached = false;
	char a[32];

	for (size_t i = 0; !linnet_plan_unit(p, i, &u); i++) {
		sum = u.layer == layer && layer >= 0 ? sum + u.bytes : u.bytes;
		layer = u.layer;
		if (sum > most)
			most = sum;
	}
	layer = -2;
	for (size_t i = 0; !linnet_plan_unit(p, i, &u); i++) {
		uint64_t blocks = (u.bytes * 48 + most - 1) / most;

		/* most models have none */
		if (!u.bytes && !strcmp(u.name, "tables"))
			continue;
		if (u.layer < 0 || u.layer != layer) {
			if (u.layer < 0)
				out_printf("%s  %-10s ", layer > -2 ? "\n" : "", u.name);
			else
				out_printf("\n  layer %-4d ", u.layer);
		}
		layer = u.layer;
		cached |= u.cached;
		out_printf("%s", term_style(1, u.streamed ? TERM_RED : u.cached ? TERM_YELLOW :
								  TERM_GREEN));
		for (uint64_t b = 0; b < blocks; b++)
			out_write(u.streamed ? "." : u.cached ? "+" : "#", 1);
		out_printf("%s", term_style(1, TERM_RESET));
	}
	out_printf("\n  # stays in memory, . is read again in every pass; a line's length is its "
		   "size (%s at most)\n", format_bytes(a, most));
	if (cached)
		out_printf("  + are experts: those used most stay in memory, others are read when "
			   "they are chosen\n");
}

static int print_text(const struct linnet_plan *p, uint64_t least,
		      const struct linnet_memory_info *mem, const struct speed *s,
		      const char *path, unsigned n_nodes)
{
	char a[32], b[32];

	out_printf("%s\n\n", path);
	picture(p);
	out_printf("\n");
	if (mem->budget != LINNET_MEMORY_UNLIMITED)
		row("budget", mem->budget);
	row("least that works", least);
	row("total", mem->total);
	row("  resident", mem->resident);
	row("  ring", mem->ring);
	if (mem->experts)
		row("  cached experts", mem->experts);
	row("  KV cache", mem->kv);
	row("  scratch", mem->scratch);
	row("  other", mem->other);
	row("read in every pass", mem->streamed);
	if (mem->kv_disk)
		row("KV cache on disk", mem->kv_disk);
	if (mem->experts) {
		row("experts in all", mem->experts_bytes);
		row("  read per token", mem->experts_read);
		out_printf("  (if all were used equally; the more some are preferred, the less is "
			   "read)\n");
	}
	if (n_nodes > 1)
		out_printf("  weights are spread over %u memory nodes, which all threads use "
			   "alike\n", n_nodes);
	if (s) {
		out_printf("\n  disk %s/s, memory %s/s: at most %.3g tokens/s, bound by %s\n",
			   format_bytes(a, (uint64_t)s->disk), format_bytes(b, (uint64_t)s->memory),
			   s->tokens, s->disk_bound ? "the disk" : "memory");
		out_printf("  weights are read in requests of %s, %u at once; with %u at once the "
			   "disk gives %s/s, ", format_bytes(a, PROBE_REQUEST), s->reads.depth,
			   s->reads.other[0].depth,
			   format_bytes(b, (uint64_t)s->reads.other[0].rate));
		out_printf("with %u %s/s\n", s->reads.other[1].depth,
			   format_bytes(a, (uint64_t)s->reads.other[1].rate));
		if (s->reads.better)
			out_printf("  --read-depth %u is faster on this disk\n", s->reads.better);
	}
	return out_finish(TOOL_OK);
}

/*
 * The plan of what "linnet run" does when nothing else is said: where weights are streamed it
 * drafts from the text, as far as there is memory for the drafts' logits. The least memory
 * is that of a run without drafts.
 */
static int make_plan(struct linnet_plan **out, uint64_t *least, const struct linnet_model *m,
		     const struct session_args *args, struct linnet_error *err)
{
	struct linnet_session_options opts = LINNET_INIT(opts);
	const uint32_t n_draft = drafts_from_text(m, args, 0);
	int ret;

	opts.n_ctx = (uint32_t)args->ctx;
	opts.n_batch = (uint32_t)args->batch;
	opts.kv_memory = args->kv_memory;
	opts.kv_type = (enum linnet_kv_type)args->kv_type;
	ret = linnet_plan_create(out, m, &opts, err);
	if (ret)
		return ret;
	*least = linnet_plan_least(*out);
	if (!n_draft)
		return 0;
	linnet_plan_destroy(*out);
	opts.n_outputs = 1 + n_draft;
	return linnet_plan_create(out, m, &opts, err);
}

int cmd_plan(int argc, char **argv)
{
	struct model_args margs = { 0 };
	struct session_args sargs = { 0 };
	bool json = false, no_probe = false;
	const struct opt opts[] = {
		OPTS_MODEL(&margs),
		OPTS_SESSION(&sargs),
		{ OPT_GROUP, .help = "Output" },
		{ OPT_FLAG, 0, "json", NULL, "print JSON", &json },
		{ OPT_FLAG, 0, "no-probe", NULL, "do not measure disk and memory", &no_probe },
		OPT_COMMON
	};
	const struct cli cli = {
		"plan", "[options] [FILE]",
		"Show which weights would stay in memory and which would be read again in every\n"
		"pass, what else takes memory, and how many tokens per second the disk and the\n"
		"memory of this machine allow at most.",
		"  linnet plan model.gguf --memory 4G\n"
		"  linnet plan -m model.gguf --memory 2G --ctx 8192 --json\n",
		opts, &margs.path
	};
	struct linnet_memory_info mem = LINNET_INIT(mem);
	struct linnet_error err = { 0 };
	struct linnet_model *m;
	struct linnet_plan *p;
	struct speed speed;
	uint64_t least;
	int status;

	if (!cli_parse(&cli, argc, argv, &status))
		return status;
	status = model_open(&m, &margs, false);
	if (status)
		return status;
	if (make_plan(&p, &least, m, &sargs, &err)) {
		tool_error("%s", err.message);
		linnet_model_close(m);
		return TOOL_FAILED;
	}
	linnet_plan_memory(p, &mem);
	if (!no_probe)
		speed = measure(m, p, &mem, &margs);
	if (json)
		status = print_json(p, least, &mem, no_probe ? NULL : &speed, margs.path,
				    model_info(m).n_nodes);
	else
		status = print_text(p, least, &mem, no_probe ? NULL : &speed, margs.path,
				    model_info(m).n_nodes);
	linnet_plan_destroy(p);
	linnet_model_close(m);
	return status;
}
