// SPDX-License-Identifier: MIT
/* linnet info: what a model file holds and what running it would need. */
#include "json.h"
#include "model.h"
#include "options.h"
#include "tool.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct type_sum {
	const char *name;
	uint64_t n, bytes;
};

static bool tensor(const struct linnet_model *m, size_t i, struct linnet_tensor_info *t)
{
	memset(t, 0, sizeof(*t));
	t->size = sizeof(*t);
	return !linnet_model_tensor(m, i, t);
}

static int by_bytes(const void *a, const void *b)
{
	const struct type_sum *x = a, *y = b;

	return x->bytes < y->bytes ? 1 : x->bytes > y->bytes ? -1 : strcmp(x->name, y->name);
}

/* Tensors by type, largest share first: *sums is for free(). */
static int sum_types(const struct linnet_model *m, struct type_sum **sums, size_t *n)
{
	struct linnet_tensor_info t;
	struct type_sum *v = NULL, *bigger;
	size_t k;

	*n = 0;
	for (size_t i = 0; tensor(m, i, &t); i++) {
		for (k = 0; k < *n && strcmp(v[k].name, t.type_name); k++)
			;
		if (k == *n) {
			bigger = realloc(v, (*n + 1) * sizeof(*v));
			if (!bigger) {
				free(v);
				tool_error("out of memory (tensor types)");
				return TOOL_FAILED;
			}
			v = bigger;
			v[(*n)++] = (struct type_sum){ .name = t.type_name };
		}
		v[k].n++;
		v[k].bytes += t.bytes;
	}
	if (*n)
		qsort(v, *n, sizeof(*v), by_bytes);
	*sums = v;
	return TOOL_OK;
}

static char *shape(char buf[static 96], const struct linnet_tensor_info *t)
{
	size_t at = 0;

	buf[0] = '\0';
	for (uint32_t d = 0; d < t->n_dims && d < 4; d++)
		at += (size_t)snprintf(buf + at, 96 - at, "%s%llu", d ? " x " : "",
				       (unsigned long long)t->ne[d]);
	return buf;
}

/* Numbers and booleans as what they are, everything else as text. */
static json_t *metadata_value(const char *type, const char *value)
{
	char *end;

	if (!strcmp(type, "bool"))
		return !strcmp(value, "true") ? json_true() : json_false();
	errno = 0;
	if ((type[0] == 'u' || type[0] == 'i') && type[1] >= '0' && type[1] <= '9') {
		long long v = strtoll(value, &end, 10);

		if (!errno && *value && !*end)
			return json_integer(v);
	} else if (type[0] == 'f' && type[1] >= '0' && type[1] <= '9') {
		double v = strtod(value, &end);

		if (*value && !*end)
			return json_number(v);
	}
	return json_text(value);
}

static void print_memory_json(json_t *o, const struct linnet_memory_info *mem, uint32_t n_ctx,
			      const char *kv_type)
{
	json_t *j = json_new_object();

	json_put(j, "n_ctx", json_integer(n_ctx));
	json_put(j, "kv_type", json_text(kv_type));
	json_put(j, "weights", json_integer((json_int_t)mem->weights));
	json_put(j, "kv", json_integer((json_int_t)mem->kv));
	json_put(j, "scratch", json_integer((json_int_t)mem->scratch));
	json_put(j, "other", json_integer((json_int_t)mem->other));
	json_put(j, "total", json_integer((json_int_t)mem->total));
	json_put(j, "resident", json_integer((json_int_t)mem->resident));
	json_put(j, "ring", json_integer((json_int_t)mem->ring));
	json_put(j, "streamed", json_integer((json_int_t)mem->streamed));
	json_put(o, "memory", j);
}

static int print_json(const struct linnet_model *m, const char *path, const char *refused,
		      const struct linnet_memory_info *mem, uint32_t n_ctx, const char *kv_type)
{
	struct linnet_model_info info = model_info(m);
	json_t *o = json_new_object(), *list, *j;
	struct linnet_tensor_info t;
	struct type_sum *sums;
	char type[128], value[4096];
	const char *key;
	size_t n_sums;

	json_put(o, "file", json_text(path));
	json_put(o, "architecture", json_text(info.architecture));
	json_put(o, "name", json_text(info.name));
	json_put(o, "type", json_text(info.type_name));
	json_put(o, "runnable", json_boolean(!refused));
	if (refused)
		json_put(o, "error", json_text(refused));
	json_put(o, "engine", json_text(info.engine));
	json_put(o, "isa", json_text(info.isa));
	json_put(o, "n_threads", json_integer(info.n_threads));
	json_put(o, "n_nodes", json_integer(info.n_nodes));
	json_put(o, "n_params", json_integer((json_int_t)info.n_params));
	json_put(o, "weight_bytes", json_integer((json_int_t)info.weight_bytes));
	json_put(o, "file_bytes", json_integer((json_int_t)info.file_bytes));
	json_put(o, "n_files", json_integer(info.n_files));
	json_put(o, "n_vocab", json_integer(info.n_vocab));
	json_put(o, "n_ctx_train", json_integer(info.n_ctx_train));
	json_put(o, "n_embd", json_integer(info.n_embd));
	json_put(o, "n_layer", json_integer(info.n_layer));
	json_put(o, "n_head", json_integer(info.n_head));
	json_put(o, "n_head_kv", json_integer(info.n_head_kv));
	json_put(o, "n_expert", json_integer(info.n_expert));
	json_put(o, "n_expert_used", json_integer(info.n_expert_used));
	if (mem)
		print_memory_json(o, mem, n_ctx, kv_type);

	list = json_new_object();
	for (size_t i = 0; !linnet_model_metadata(m, i, &key, type, sizeof(type), value,
						  sizeof(value)); i++) {
		json_t *name = json_text(key);

		j = json_new_object();
		json_put(j, "type", json_text(type));
		json_put(j, "value", metadata_value(type, value));
		json_put(list, json_string_value(name), j);
		json_decref(name);
	}
	json_put(o, "metadata", list);

	list = json_new_array();
	if (sum_types(m, &sums, &n_sums)) {
		json_decref(list);
		json_decref(o);
		return TOOL_FAILED;
	}
	for (size_t i = 0; i < n_sums; i++) {
		j = json_new_object();
		json_put(j, "type", json_text(sums[i].name));
		json_put(j, "tensors", json_integer((json_int_t)sums[i].n));
		json_put(j, "bytes", json_integer((json_int_t)sums[i].bytes));
		json_add(list, j);
	}
	free(sums);
	json_put(o, "types", list);

	list = json_new_array();
	for (size_t i = 0; tensor(m, i, &t); i++) {
		json_t *ne = json_new_array();

		for (uint32_t d = 0; d < t.n_dims && d < 4; d++)
			json_add(ne, json_integer((json_int_t)t.ne[d]));
		j = json_new_object();
		json_put(j, "name", json_text(t.name));
		json_put(j, "type", json_text(t.type_name));
		json_put(j, "shape", ne);
		json_put(j, "bytes", json_integer((json_int_t)t.bytes));
		json_put(j, "offset", json_integer((json_int_t)t.offset));
		json_put(j, "file", json_integer(t.file));
		json_add(list, j);
	}
	json_put(o, "tensors", list);

	json_out(o, JSON_INDENT(2));
	out_printf("\n");
	json_decref(o);
	return out_finish(TOOL_OK);
}

/* A name from the file, with its control characters shown. */
static void print_name(const char *text)
{
	for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
		if (*p < 0x20 || *p == 0x7f)
			out_printf("\\x%02x", *p);
		else
			out_write(p, 1);
	}
}

static void print_row(const char *label, uint64_t bytes)
{
	char a[32], b[32];

	out_printf("  %-18s %12s %18s bytes\n", label, format_bytes(a, bytes),
		   format_count(b, bytes));
}

static int print_text(const struct linnet_model *m, const char *path, const char *refused,
		      const struct linnet_memory_info *mem, uint32_t n_ctx, const char *kv_type,
		      bool all_tensors)
{
	struct linnet_model_info info = model_info(m);
	char a[32], b[32], type[128], value[512], dims[96];
	struct linnet_tensor_info t;
	struct type_sum *sums;
	const char *key;
	size_t n_sums;

	out_printf("file          ");
	print_name(path);
	out_printf(" (%s%s", format_bytes(a, info.file_bytes), info.n_files > 1 ? ", " : "");
	if (info.n_files > 1)
		out_printf("%u parts", info.n_files);
	out_printf(")\n");
	if (info.name && *info.name) {
		out_printf("name          ");
		print_name(info.name);
		out_printf("\n");
	}
	out_printf("architecture  ");
	print_name(info.architecture);
	if (info.n_expert)
		out_printf(", %u experts, %u used", info.n_expert, info.n_expert_used);
	out_printf("\n");
	if (info.n_params)
		out_printf("parameters    %s\nweights       %s, %s\n",
			   format_count(a, info.n_params), info.type_name,
			   format_bytes(b, info.weight_bytes));
	if (info.n_layer)
		out_printf("shape         %u layers, width %u, %u heads, %u key/value heads\n",
			   info.n_layer, info.n_embd, info.n_head, info.n_head_kv);
	if (info.n_ctx_train)
		out_printf("context       %s positions trained\n",
			   format_count(a, info.n_ctx_train));
	out_printf("vocabulary    %s tokens\n", format_count(a, info.n_vocab));
	if (refused) {
		out_printf("runs          no: ");
		print_name(refused);
		out_printf("\n");
	} else {
		out_printf("runs          on %s (%s, %u thread%s", info.engine, info.isa,
			   info.n_threads, info.n_threads == 1 ? "" : "s");
		if (info.n_nodes > 1)
			out_printf(", %u memory nodes", info.n_nodes);
		out_printf(")\n");
	}

	if (mem) {
		out_printf("\nMemory for %s positions, KV cache in %s:\n", format_count(a, n_ctx),
			   kv_type);
		print_row("weights", mem->weights);
		if (mem->streamed) {
			print_row("  resident", mem->resident);
			print_row("  ring", mem->ring);
		}
		print_row("KV cache", mem->kv);
		print_row("scratch", mem->scratch);
		print_row("other", mem->other);
		print_row("total", mem->total);
		if (mem->streamed)
			print_row("read in every pass", mem->streamed);
	}

	if (sum_types(m, &sums, &n_sums))
		return TOOL_FAILED;
	out_printf(n_sums ? "\nTensors by type:\n" : "\nNo tensors.\n");
	for (size_t i = 0; i < n_sums; i++)
		out_printf("  %-8s %6s tensors %12s\n", sums[i].name, format_count(a, sums[i].n),
			   format_bytes(b, sums[i].bytes));
	free(sums);
	if (all_tensors) {
		out_printf("\nTensors:\n");
		for (size_t i = 0; tensor(m, i, &t); i++) {
			out_printf("  %-8s %12s  %-22s  ", t.type_name, format_bytes(a, t.bytes),
				   shape(dims, &t));
			print_name(t.name);
			out_printf("\n");
		}
	}

	out_printf("\nMetadata:\n");
	for (size_t i = 0; !linnet_model_metadata(m, i, &key, type, sizeof(type), value,
						  sizeof(value)); i++) {
		out_printf("  ");
		print_name(key);
		out_printf(" (%s) = ", type);
		print_name(value);
		out_printf("\n");
	}
	return out_finish(TOOL_OK);
}

/*
 * A model of a kind that is not supported can still be looked at, and so can a file
 * that holds a vocabulary and no tensor. A damaged one cannot.
 */
static int open_to_look(struct linnet_model **out, const char *path, int why,
			struct linnet_model_options *opts)
{
	struct linnet_tensor_info t;

	opts->vocab_only = true;
	if (linnet_model_open(out, path, opts, NULL))
		return why;
	if (why == -ENOTSUP || !tensor(*out, 0, &t))
		return 0;
	linnet_model_close(*out);
	return why;
}

static int print_devices(bool json)
{
	struct linnet_device_info dev = LINNET_INIT(dev);
	json_t *list = json ? json_new_array() : NULL;
	char bytes[32];
	unsigned n = 0;
	int ret;

	for (; !(ret = linnet_device_info(n, &dev)); n++) {
		if (json) {
			json_t *o = json_new_object();

			json_put(o, "path", json_text(dev.path));
			json_put(o, "usable", json_boolean(dev.usable));
			json_put(o, "isa", json_text(dev.isa));
			json_put(o, "n_threads", json_integer(dev.n_threads));
			json_put(o, "max_region_bytes",
				 json_integer((json_int_t)dev.max_region_bytes));
			json_put(o, "note", json_text(dev.note));
			json_add(list, o);
		} else if (dev.usable) {
			out_printf("%-20s  %s, %u thread%s, regions of up to %s\n", dev.path,
				   dev.isa, dev.n_threads, dev.n_threads == 1 ? "" : "s",
				   format_bytes(bytes, dev.max_region_bytes));
		} else {
			out_printf("%-20s  not usable: %s\n", dev.path, dev.note);
		}
	}
	if (json) {
		json_out(list, JSON_INDENT(2));
		out_printf("\n");
		json_decref(list);
	}
	if (ret == -EOPNOTSUPP)
		tool_note("info: no devices: built without libdrm");
	else if (!n)
		tool_note("info: no Linnet device (/dev/accel)");
	return out_finish(TOOL_OK);
}

int cmd_info(int argc, char **argv)
{
	struct model_args margs = { 0 };
	struct session_args sargs = { 0 };
	bool json = false, all_tensors = false, devices = false;
	const struct opt opts[] = {
		OPTS_MODEL_FILE(&margs),
		OPTS_MEMORY(&margs),
		OPTS_ENGINE(&margs),
		{ OPT_INT, 't', "threads", "N",
		  "threads that would compute (default: one for each CPU)",
		  &margs.threads, 1, 1024 },
		{ OPT_INT, 'c', "ctx", "N",
		  "show the memory for N positions (default: what the model\n"
		  "was trained for, at most 4096)", &sargs.ctx, 1, INT32_MAX },
		{ OPT_CHOICE, 0, "kv-type", "TYPE",
		  "type of the KV cache: f16, q8_0, q4_0 or f32\n(default: f16)",
		  &sargs.kv_type, .choices = kv_type_names },
		{ OPT_GROUP, .help = "Output" },
		{ OPT_FLAG, 0, "json", NULL, "everything as JSON", &json },
		{ OPT_FLAG, 0, "tensors", NULL, "list every tensor (always there in JSON)",
		  &all_tensors },
		{ OPT_FLAG, 0, "devices", NULL,
		  "list the Linnet devices of this machine, no model", &devices },
		OPT_COMMON
	};
	const struct cli cli = {
		"info", "[-m] FILE [options]",
		"Show what a model file holds: shape, tensors by type, metadata, and the memory\n"
		"that running it needs. Reads no weights. A model that this version cannot run is\n"
		"shown with the reason.",
		"  linnet info model.gguf\n"
		"  linnet info -m model.gguf --ctx 32768 --kv-type q8_0\n"
		"  linnet info -m model.gguf --json | jq .memory.total\n"
		"  linnet info --devices\n",
		opts, &margs.path
	};
	struct linnet_session_options sopts = LINNET_INIT(sopts);
	struct linnet_model_options mopts = LINNET_INIT(mopts);
	struct linnet_memory_info mem = LINNET_INIT(mem);
	struct linnet_error err = { 0 };
	const char *refused = NULL;
	struct linnet_model *m;
	uint32_t n_ctx = 0;
	int status, ret;

	if (!cli_parse(&cli, argc, argv, &status))
		return status;
	if (devices)
		return print_devices(json);
	if (!margs.path) {
		status = model_open(&m, &margs, false);
		if (status)
			return status;
	} else {
		mopts.engine = engine_names[margs.engine];
		mopts.n_threads = (unsigned)margs.threads;
		mopts.memory_bytes = margs.memory;
		ret = linnet_model_open(&m, margs.path, &mopts, &err);
		if (ret)
			ret = open_to_look(&m, margs.path, ret, &mopts);
		if (!ret && mopts.vocab_only)
			refused = err.message;
		if (ret) {
			tool_error("%s", err.message);
			return TOOL_FAILED;
		}
	}
	sopts.n_ctx = (uint32_t)sargs.ctx;
	sopts.kv_type = (enum linnet_kv_type)sargs.kv_type;
	if (!refused) {
		struct linnet_model_info info = model_info(m);

		n_ctx = sopts.n_ctx ? sopts.n_ctx :
			info.n_ctx_train < 4096 ? info.n_ctx_train : 4096;
		if (linnet_model_memory(m, &sopts, &mem, &err)) {
			tool_error("%s", err.message);
			linnet_model_close(m);
			return TOOL_FAILED;
		}
	}
	if (json)
		status = print_json(m, margs.path, refused, refused ? NULL : &mem, n_ctx,
				    kv_type_names[sargs.kv_type]);
	else
		status = print_text(m, margs.path, refused, refused ? NULL : &mem, n_ctx,
				    kv_type_names[sargs.kv_type], all_tensors);
	linnet_model_close(m);
	return status;
}
