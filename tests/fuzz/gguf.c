// SPDX-License-Identifier: MIT
/*
 * Fuzz target: runtime/format/gguf.h. Bytes that start with 'S' and a u16 are two parts of
 * a split model, cut there; all others are one file. What opens must keep the
 * header's promises, and every byte that it hands out must be there.
 */
#include "fuzz.h"

#include "kernels/kernels.h"
#include "runtime/format/gguf.h"

#include <string.h>

static unsigned touch(const void *p, size_t n)
{
	const unsigned char *b = p;
	unsigned sum = 0;

	for (size_t i = 0; i < n; i++)
		sum += b[i];
	return sum;
}

static unsigned touch_kv(const struct linnet_gguf *g, const struct linnet_gguf_kv *kv)
{
	static const uint8_t size[] = { 1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8 };
	const struct linnet_str *s;
	struct linnet_gguf_array arr;
	struct linnet_error err;
	struct linnet_str str;
	unsigned sum = 0;
	uint32_t u;
	float f;
	bool b;

	must(strlen(kv->key.p) == kv->key.n && kv->key.n);
	must(linnet_gguf_find(g, kv->key.p) == kv);
	must(linnet_gguf_type_name(kv->type));
	if (!linnet_gguf_get_u32(g, kv->key.p, &u, &err))
		sum += u;
	if (!linnet_gguf_get_f32(g, kv->key.p, &f, &err))
		must(__builtin_isfinite(f));
	if (!linnet_gguf_get_bool(g, kv->key.p, &b, &err))
		sum += b;
	if (!linnet_gguf_get_str(g, kv->key.p, &str, &err)) {
		sum += touch(str.p, str.n + 1);
		must(!str.p[str.n]);
	}
	for (int type = 0; type < 13; type++) {
		if (type == LINNET_GGUF_ARRAY ||
		    linnet_gguf_get_array(g, kv->key.p, type, &arr, &err))
			continue;
		must(arr.type == (enum linnet_gguf_type)type);
		if (type != LINNET_GGUF_STRING) {
			must((uintptr_t)arr.data % size[type] == 0);
			sum += touch(arr.data, arr.n * size[type]);
			continue;
		}
		s = arr.data;
		for (size_t i = 0; i < arr.n; i++) {
			sum += touch(s[i].p, s[i].n + 1);
			must(!s[i].p[s[i].n]);
		}
	}
	return sum;
}

static void check(const struct linnet_gguf *g)
{
	static volatile unsigned sink;
	const struct linnet_gguf_tensor *t, *o;
	const struct linnet_type_info *info;
	uint64_t elems;

	for (size_t i = 0; i < linnet_gguf_kv_count(g); i++)
		sink += touch_kv(g, linnet_gguf_kv(g, i));
	must(!linnet_gguf_kv(g, linnet_gguf_kv_count(g)));
	for (size_t i = 0; i < linnet_gguf_tensor_count(g); i++) {
		t = linnet_gguf_tensor(g, i);
		must(linnet_gguf_find_tensor(g, t->name.p) == t);
		must(t->file < linnet_gguf_file_count(g));
		must(t->bytes && t->offset + t->bytes > t->offset);
		must(t->offset + t->bytes <= linnet_gguf_file_bytes(g, t->file));
		must(t->n_dims >= 1 && t->n_dims <= 4);
		info = linnet_type_info(t->type);
		must(info && t->ne[0] % info->block_elems == 0);
		elems = t->ne[0] * t->ne[1] * t->ne[2] * t->ne[3];
		must(linnet_row_bytes(info, elems) == t->bytes);
		for (size_t j = 0; j < i && i < 64; j++) {
			o = linnet_gguf_tensor(g, j);
			must(o->file != t->file || o->offset + o->bytes <= t->offset ||
			     t->offset + t->bytes <= o->offset);
		}
	}
}

static char dir[64], part_path[2][128];

static void remove_parts(void)
{
	unlink(part_path[0]);
	unlink(part_path[1]);
	rmdir(dir);
}

/* The two parts of a split model, in a folder that is made once. */
static const char *two_parts(const uint8_t *data, size_t n, size_t cut)
{
	FILE *f;

	if (!*dir) {
		snprintf(dir, sizeof(dir), "/tmp/linnet-fuzz-XXXXXX");
		must(mkdtemp(dir));
		for (int i = 0; i < 2; i++)
			snprintf(part_path[i], sizeof(part_path[i]), "%s/m-%05d-of-00002.gguf",
				 dir, i + 1);
		atexit(remove_parts);
	}
	for (int i = 0; i < 2; i++) {
		f = fopen(part_path[i], "wb");
		must(f);
		if (i)
			fwrite(data + cut, 1, n - cut, f);
		else
			fwrite(data, 1, cut, f);
		must(!fclose(f));
	}
	return part_path[0];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct linnet_error err = { 0 };
	struct linnet_gguf *g = NULL;
	const char *path;
	uint16_t cut;
	int ret;

	if (n > 3 && data[0] == 'S') {
		memcpy(&cut, data + 1, 2);
		path = two_parts(data + 3, n - 3, cut < n - 3 ? cut : n - 3);
	} else {
		path = fuzz_file(0, data, n);
	}
	ret = linnet_gguf_open(&g, path, &err);
	if (ret) {
		must(ret < 0 && !g && err.code == ret && strlen(err.message) > strlen(path));
		must(!strchr(err.message, '\n'));
		return 0;
	}
	check(g);
	linnet_gguf_close(g);
	return 0;
}
