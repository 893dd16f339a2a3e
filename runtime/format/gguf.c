// SPDX-License-Identifier: MIT
/*
 * Keeps gguf.h. Layout of a file, little-endian, nothing aligned but the data:
 *
 *	"GGUF", u32 version, u64 n_tensors, u64 n_entries
 *	n_entries times: string key, u32 value type, value
 *	n_tensors times: string name, u32 n_dims, u64 ne[n_dims], u32 type, u64 offset
 *	padding to general.alignment (32), then the data that offsets count from
 *
 * A string is u64 n and n bytes; an array is u32 element type, u64 n, elements.
 *
 * The file is read once, front to back, through a small window; a file that shrinks
 * meanwhile is an error and not a SIGBUS. Counts are compared with the bytes
 * that are left before anything is allocated for them. What is kept lives in one
 * arena.
 */
#include "gguf.h"

#include "kernels/kernels.h"
#include "runtime/util/arena.h"
#include "runtime/util/error.h"
#include "runtime/util/hash.h"
#include "runtime/util/overflow.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Scalars and arrays are used as they lie in the file, as weights are. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "big-endian hosts are not supported");

#define WINDOW_BYTES		(64u << 10)
#define DEFAULT_ALIGNMENT	32u
#define MIN_ALIGNMENT		8u		/* the format's */
#define MAX_ALIGNMENT		(16u << 20)
#define MAX_KEY			65535u		/* the format's */
#define MAX_TENSOR_NAME		64u		/* the format's */
/* Far above any real model; they bound what a hostile file makes us allocate. */
#define MAX_META_BYTES		(256u << 20)
#define MAX_ENTRIES		65536u
#define MAX_TENSORS		262144u
/* The least bytes that one takes in the file. */
#define MIN_ENTRY		(8 + 1 + 4 + 1)
#define MIN_TENSOR		(8 + 1 + 4 + 8 + 4 + 8)
/* "-00001-of-00002.gguf" */
#define SPLIT_SUFFIX		20u

static const struct value_type {
	const char *name;
	uint8_t bytes;			/* 0: variable */
} value_types[] = {
	[LINNET_GGUF_U8] = { "u8", 1 },		[LINNET_GGUF_I8] = { "i8", 1 },
	[LINNET_GGUF_U16] = { "u16", 2 },	[LINNET_GGUF_I16] = { "i16", 2 },
	[LINNET_GGUF_U32] = { "u32", 4 },	[LINNET_GGUF_I32] = { "i32", 4 },
	[LINNET_GGUF_F32] = { "f32", 4 },	[LINNET_GGUF_BOOL] = { "bool", 1 },
	[LINNET_GGUF_STRING] = { "str", 0 },	[LINNET_GGUF_ARRAY] = { "arr", 0 },
	[LINNET_GGUF_U64] = { "u64", 8 },	[LINNET_GGUF_I64] = { "i64", 8 },
	[LINNET_GGUF_F64] = { "f64", 8 },
};
#define N_VALUE_TYPES (sizeof(value_types) / sizeof(value_types[0]))

/* Every number that the format itself has ever given to a tensor type. */
static const char *const tensor_types[] = {
	"F32", "F16", "Q4_0", "Q4_1", "Q4_2", "Q4_3", "Q5_0", "Q5_1", "Q8_0", "Q8_1",
	"Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "Q8_K", "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S",
	"IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS", "I8", "I16", "I32", "I64", "F64", "IQ1_M",
	"BF16", "Q4_0_4_4", "Q4_0_4_8", "Q4_0_8_8", "TQ1_0", "TQ2_0",
	"IQ4_NL_4_4", "IQ4_NL_4_8", "IQ4_NL_8_8", "MXFP4", "NVFP4", "Q1_0", "Q2_0",
};

/* Those of ik_llama.cpp, a fork that numbers its own types from 133. */
static const struct fork_type {
	uint16_t type;
	const char *name;
} fork_types[] = {
	{ 133, "Q6_0" },	{ 134, "IQ1_BN" },	{ 135, "IQ2_BN" },	{ 136, "Q8_K64" },
	{ 137, "IQ2_K" },	{ 138, "IQ3_K" },	{ 139, "IQ4_K" },	{ 140, "IQ5_K" },
	{ 141, "IQ6_K" },	{ 142, "IQ2_TN" },	{ 143, "IQ1_TN" },	{ 144, "IQ4_KS" },
	{ 145, "IQ2_KS" },	{ 146, "IQ4_KSS" },	{ 151, "Q8_KV" },	{ 152, "IQ5_KS" },
	{ 153, "IQ2_KT" },	{ 154, "IQ3_KT" },	{ 155, "IQ4_KT" },	{ 156, "IQ3_KS" },
	{ 157, "IQ2_KL" },	{ 158, "IQ1_KT" },	{ 202, "Q4_0_R8" },	{ 206, "Q5_0_R4" },
	{ 208, "Q8_0_R8" },	{ 210, "Q2_K_R4" },	{ 211, "Q3_K_R4" },	{ 212, "Q4_K_R4" },
	{ 213, "Q5_K_R4" },	{ 214, "Q6_K_R4" },	{ 216, "IQ2_XXS_R4" },	{ 217, "IQ2_XS_R4" },
	{ 218, "IQ3_XXS_R4" },	{ 219, "IQ1_S_R4" },	{ 220, "IQ4_NL_R4" },	{ 221, "IQ3_S_R4" },
	{ 222, "IQ2_S_R4" },	{ 223, "IQ4_XS_R8" },	{ 229, "IQ1_M_R4" },	{ 230, "BF16_R16" },
	{ 233, "Q6_0_R4" },	{ 335, "IQ2_BN_R4" },	{ 337, "IQ2_K_R4" },	{ 338, "IQ3_K_R4" },
	{ 339, "IQ4_K_R4" },	{ 340, "IQ5_K_R4" },	{ 344, "IQ4_KS_R4" },	{ 352, "IQ5_KS_R4" },
	{ 353, "MXFP4_R8" },	{ 398, "Q8_KV_R8" },	{ 399, "Q8_K_R8" },
};

const char *linnet_gguf_type_name(enum linnet_gguf_type type)
{
	return (unsigned)type < N_VALUE_TYPES ? value_types[type].name : NULL;
}

const char *linnet_gguf_tensor_type_name(uint32_t type)
{
	if (type < sizeof(tensor_types) / sizeof(tensor_types[0]))
		return tensor_types[type];
	for (size_t i = 0; i < sizeof(fork_types) / sizeof(fork_types[0]); i++)
		if (fork_types[i].type == type)
			return fork_types[i].name;
	return NULL;
}

/* Names to numbers 0..n-1: open addressing, at most half full. */
struct index {
	uint32_t *slot;			/* number + 1, or 0 */
	size_t mask;
};

struct meta {
	struct linnet_gguf_kv *kv;
	size_t n;
	struct index index;
};

struct part {
	struct linnet_gguf_stamp stamp;
	const char *path;
	uint64_t bytes;
};

struct linnet_gguf {
	struct linnet_arena arena;
	struct linnet_hash_key hash_key;
	const char *path;
	uint32_t version;
	uint32_t alignment;
	struct meta meta;
	struct part *parts;
	size_t n_parts;
	struct linnet_gguf_tensor *tensors;
	size_t n_tensors;
	size_t tensors_cap;
	struct index tensor_index;
};

/* ------------------------------------------------------------------ input */

/* Where in the file we are, for messages. */
enum section { SECTION_FILE, SECTION_HEADER, SECTION_META, SECTION_TENSOR };

struct input {
	const char *path;
	struct linnet_error *err;
	int fd;
	uint64_t size;			/* of the file */
	uint64_t limit;			/* metadata ends before this */
	uint64_t pos;			/* of the next byte to take */
	size_t at, have;		/* the window's next byte and its end */
	enum section section;
	uint64_t number;		/* of the entry or tensor */
	const char *name;		/* its name, once known */
	unsigned char window[WINDOW_BYTES];
	struct linnet_gguf_stamp stamp;
};

/*
 * Compose "path: section: message" so that the message keeps to one line and its
 * end survives whatever the path is.
 */
__attribute__((format(printf, 4, 5), cold))
static int fail_at(struct linnet_error *err, const char *path, int code, const char *fmt, ...)
{
	const size_t path_max = 200;
	char text[sizeof(err->message)];
	size_t n = strlen(path);
	va_list ap;
	char *p;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	linnet_err(err, code, "%s%s: %s", n > path_max ? "..." : "",
		   n > path_max ? path + n - path_max : path, text);
	if (err) {
		for (p = err->message; *p; p++) {
			if (iscntrl((unsigned char)*p))
				*p = '?';
		}
	}
	return code;
}

__attribute__((format(printf, 3, 4), cold))
static int fail(const struct input *in, int code, const char *fmt, ...)
{
	char where[128] = "", what[320];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	switch (in->section) {
	case SECTION_FILE:
		break;
	case SECTION_HEADER:
		snprintf(where, sizeof(where), "header: ");
		break;
	case SECTION_META:
	case SECTION_TENSOR:
		snprintf(where, sizeof(where), "%s %llu%s%.80s%s: ",
			 in->section == SECTION_META ? "metadata" : "tensor",
			 (unsigned long long)in->number, in->name ? " (" : "",
			 in->name ? in->name : "", in->name ? ")" : "");
		break;
	}
	return fail_at(in->err, in->path, code, "%s%s", where, what);
}

static int no_memory(const struct input *in, uint64_t bytes)
{
	return fail(in, -ENOMEM, "no memory for %llu bytes", (unsigned long long)bytes);
}

struct linnet_gguf_stamp linnet_gguf_stamp_of(const struct stat *st)
{
	return (struct linnet_gguf_stamp){
		.dev = st->st_dev,
		.ino = st->st_ino,
		.bytes = (uint64_t)st->st_size,
		.sec = st->st_mtim.tv_sec,
		.nsec = st->st_mtim.tv_nsec,
	};
}

static int input_open(struct input *in, const char *path, struct linnet_error *err)
{
	struct stat st;
	const char *kind;
	int ret;

	in->path = path;
	in->err = err;
	in->section = SECTION_FILE;
	in->name = NULL;
	in->pos = in->at = in->have = 0;
	/* O_NONBLOCK: a FIFO must not make us wait for its writer. */
	in->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (in->fd < 0) {
		ret = -errno;
		return fail(in, ret, "cannot open: %s", strerror(-ret));
	}
	if (fstat(in->fd, &st)) {
		ret = -errno;
		fail(in, ret, "cannot stat: %s", strerror(-ret));
		goto err_close;
	}
	if (!S_ISREG(st.st_mode)) {
		kind = S_ISDIR(st.st_mode) ? "a directory" : S_ISFIFO(st.st_mode) ? "a FIFO" :
		       S_ISCHR(st.st_mode) ? "a character device" :
		       S_ISBLK(st.st_mode) ? "a block device" : "of another kind";
		ret = fail(in, S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL,
			   "not a regular file but %s", kind);
		goto err_close;
	}
	if (!st.st_size) {
		ret = fail(in, -EINVAL, "the file is empty (0 bytes), not GGUF");
		goto err_close;
	}
	/* Read ahead of the metadata are weights, which nobody wants in the page cache. */
	posix_fadvise(in->fd, 0, 0, POSIX_FADV_RANDOM);
	in->size = (uint64_t)st.st_size;
	in->stamp = linnet_gguf_stamp_of(&st);
	in->limit = in->size < MAX_META_BYTES ? in->size : MAX_META_BYTES;
	return 0;

err_close:
	close(in->fd);
	in->fd = -1;
	return ret;
}

static void input_close(struct input *in)
{
	if (in->fd >= 0)
		close(in->fd);
	in->fd = -1;
}

/* At least one byte, at most n, from offset. Returns how many, or -errno. */
static ssize_t input_pread(const struct input *in, void *dst, size_t n, uint64_t offset)
{
	ssize_t got;
	int ret;

	do {
		got = pread(in->fd, dst, n, (off_t)offset);
	} while (got < 0 && errno == EINTR);
	if (got < 0) {
		ret = -errno;
		return fail(in, ret, "read at byte %llu: %s", (unsigned long long)offset,
			    strerror(-ret));
	}
	if (!got)
		return fail(in, -EIO, "the file shrank while it was read: it had %llu bytes and "
			    "ends at %llu now", (unsigned long long)in->size,
			    (unsigned long long)offset);
	return got;
}

/* Bytes that may still be taken. */
static uint64_t left(const struct input *in)
{
	return in->limit - in->pos;
}

__attribute__((cold))
static int too_short(const struct input *in, uint64_t n, const char *field)
{
	if (in->limit < in->size)
		return fail(in, -EINVAL, "%s of %llu bytes at byte %llu: metadata longer than "
			    "%u bytes is not supported", field, (unsigned long long)n,
			    (unsigned long long)in->pos, MAX_META_BYTES);
	return fail(in, -EINVAL,
		    "truncated: %s needs %llu bytes at byte %llu, the file ends at %llu", field,
		    (unsigned long long)n, (unsigned long long)in->pos,
		    (unsigned long long)in->size);
}

/* Take n bytes; field names them in messages. */
static int take(struct input *in, void *dst, size_t n, const char *field)
{
	unsigned char *p = dst;
	uint64_t want;
	ssize_t got;
	size_t part;

	if (n > left(in))
		return too_short(in, n, field);
	while (n) {
		if (in->at == in->have) {
			/* What fills the window is read straight to its place. */
			if (n >= WINDOW_BYTES) {
				got = input_pread(in, p, n, in->pos);
				if (got < 0)
					return (int)got;
				p += got;
				n -= (size_t)got;
				in->pos += (size_t)got;
				continue;
			}
			want = left(in) < WINDOW_BYTES ? left(in) : WINDOW_BYTES;
			got = input_pread(in, in->window, (size_t)want, in->pos);
			if (got < 0)
				return (int)got;
			in->at = 0;
			in->have = (size_t)got;
		}
		part = in->have - in->at < n ? in->have - in->at : n;
		memcpy(p, in->window + in->at, part);
		in->at += part;
		in->pos += part;
		p += part;
		n -= part;
	}
	return 0;
}

static int take_u32(struct input *in, uint32_t *out, const char *field)
{
	return take(in, out, sizeof(*out), field);
}

static int take_u64(struct input *in, uint64_t *out, const char *field)
{
	return take(in, out, sizeof(*out), field);
}

/* A string of at most max bytes, copied to the arena. */
static int take_str(struct input *in, struct linnet_arena *arena, struct linnet_str *out,
		    uint64_t max, const char *field)
{
	uint64_t n;
	char *p;
	int ret;

	ret = take_u64(in, &n, field);
	if (ret)
		return ret;
	if (n > max)
		return fail(in, -EINVAL, "%s of %llu bytes, at most %llu are allowed", field,
			    (unsigned long long)n, (unsigned long long)max);
	if (n > left(in))
		return too_short(in, n, field);
	p = linnet_arena_alloc(arena, (size_t)n + 1, 1);
	if (!p)
		return no_memory(in, n + 1);
	ret = take(in, p, (size_t)n, field);
	if (ret)
		return ret;
	p[n] = 0;
	out->p = p;
	out->n = (size_t)n;
	return 0;
}

/* A key or a tensor's name: at least one character, printable ASCII, no space. */
static int take_name(struct input *in, struct linnet_arena *arena, struct linnet_str *out,
		     uint64_t max, const char *field)
{
	unsigned char c;
	int ret;

	in->name = NULL;
	ret = take_str(in, arena, out, max, field);
	if (ret)
		return ret;
	if (!out->n)
		return fail(in, -EINVAL, "%s of 0 bytes", field);
	for (size_t i = 0; i < out->n; i++) {
		c = (unsigned char)out->p[i];
		if (c <= ' ' || c > '~')
			return fail(in, -EINVAL, "%s has byte 0x%02x at %zu; only printable ASCII "
				    "without spaces is allowed", field, c, i);
	}
	in->name = out->p;
	return 0;
}

/* ------------------------------------------------------------------ index */

static int index_create(struct index *x, struct linnet_arena *arena, const struct input *in,
			size_t n)
{
	size_t slots = 8;

	while (slots < 2 * n)
		slots *= 2;
	x->slot = linnet_arena_array(arena, slots, sizeof(*x->slot), alignof(uint32_t));
	if (!x->slot)
		return no_memory(in, (uint64_t)slots * sizeof(*x->slot));
	memset(x->slot, 0, slots * sizeof(*x->slot));
	x->mask = slots - 1;
	return 0;
}

/*
 * The slot that holds name or the free one where it belongs. names are the
 * struct linnet_str at the start of elements that lie stride bytes apart.
 */
static uint32_t *index_slot(const struct index *x, struct linnet_hash_key key, const void *names,
			    size_t stride, const char *p, size_t n)
{
	const struct linnet_str *s;
	size_t i = linnet_hash(key, p, n) & x->mask;

	for (; x->slot[i]; i = (i + 1) & x->mask) {
		s = (const void *)((const char *)names + (x->slot[i] - 1) * stride);
		if (s->n == n && !memcmp(s->p, p, n))
			break;
	}
	return &x->slot[i];
}

/* --------------------------------------------------------------- metadata */

/* A whole number of elements that can be in the rest of the file. */
static int check_count(const struct input *in, uint64_t n, uint64_t each, const char *field)
{
	if (n > left(in) / each)
		return fail(in, -EINVAL, "%s %llu needs at least %llu bytes each, only %llu bytes "
			    "are left at byte %llu", field, (unsigned long long)n,
			    (unsigned long long)each, (unsigned long long)left(in),
			    (unsigned long long)in->pos);
	return 0;
}

static int check_bool(const struct input *in, unsigned char v)
{
	return v > 1 ? fail(in, -EINVAL, "bool value %u is neither 0 nor 1", v) : 0;
}

static int check_value_type(const struct input *in, uint32_t type, const char *field)
{
	if (type >= N_VALUE_TYPES)
		return fail(in, -EINVAL, "unknown %s %u", field, type);
	return 0;
}

static int take_scalar(struct input *in, struct linnet_gguf_kv *kv)
{
	union {
		uint8_t u8; int8_t i8; uint16_t u16; int16_t i16; uint32_t u32; int32_t i32;
		uint64_t u64; int64_t i64; float f32; double f64;
	} v;
	int ret;

	ret = take(in, &v, value_types[kv->type].bytes, "value");
	if (ret)
		return ret;
	switch (kv->type) {
	case LINNET_GGUF_U8:
		kv->u = v.u8;
		break;
	case LINNET_GGUF_I8:
		kv->i = v.i8;
		break;
	case LINNET_GGUF_U16:
		kv->u = v.u16;
		break;
	case LINNET_GGUF_I16:
		kv->i = v.i16;
		break;
	case LINNET_GGUF_U32:
		kv->u = v.u32;
		break;
	case LINNET_GGUF_I32:
		kv->i = v.i32;
		break;
	case LINNET_GGUF_F32:
		kv->f = v.f32;
		break;
	case LINNET_GGUF_BOOL:
		kv->u = v.u8;
		return check_bool(in, v.u8);
	case LINNET_GGUF_U64:
		kv->u = v.u64;
		break;
	case LINNET_GGUF_I64:
		kv->i = v.i64;
		break;
	case LINNET_GGUF_F64:
		kv->f = v.f64;
		break;
	case LINNET_GGUF_STRING:
	case LINNET_GGUF_ARRAY:
		break;
	}
	return 0;
}

static int take_array(struct input *in, struct linnet_arena *arena, struct linnet_gguf_array *arr)
{
	struct linnet_str *str;
	size_t size;
	uint32_t type;
	uint64_t n;
	void *data;
	int ret;

	ret = take_u32(in, &type, "array element type");
	if (ret)
		return ret;
	ret = check_value_type(in, type, "array element type");
	if (ret)
		return ret;
	if (type == LINNET_GGUF_ARRAY)
		return fail(in, -ENOTSUP, "array element type 9 (arr): nested arrays are not "
			    "supported");
	ret = take_u64(in, &n, "array length");
	if (ret)
		return ret;
	size = value_types[type].bytes;
	/* An empty string still has its length. */
	ret = check_count(in, n, size ? size : sizeof(uint64_t), "array length");
	if (ret)
		return ret;
	arr->type = type;
	arr->n = (size_t)n;
	if (type == LINNET_GGUF_STRING) {
		str = linnet_arena_array(arena, arr->n, sizeof(*str), alignof(struct linnet_str));
		if (!str)
			return no_memory(in, n * sizeof(*str));
		arr->data = str;
		for (size_t i = 0; i < arr->n; i++) {
			ret = take_str(in, arena, &str[i], UINT64_MAX, "array string");
			if (ret)
				return ret;
		}
		return 0;
	}
	data = linnet_arena_array(arena, arr->n, size, size);
	if (!data)
		return no_memory(in, n * size);
	arr->data = data;
	ret = take(in, data, arr->n * size, "array");
	if (ret)
		return ret;
	if (type == LINNET_GGUF_BOOL) {
		for (size_t i = 0; i < arr->n && !ret; i++)
			ret = check_bool(in, ((const uint8_t *)data)[i]);
	}
	return ret;
}

static int take_entry(struct input *in, struct linnet_arena *arena, struct linnet_gguf_kv *kv)
{
	uint32_t type;
	int ret;

	ret = take_name(in, arena, &kv->key, MAX_KEY, "key");
	if (ret)
		return ret;
	ret = take_u32(in, &type, "value type");
	if (ret)
		return ret;
	ret = check_value_type(in, type, "value type");
	if (ret)
		return ret;
	kv->type = type;
	if (type == LINNET_GGUF_STRING)
		return take_str(in, arena, &kv->str, UINT64_MAX, "string value");
	if (type == LINNET_GGUF_ARRAY)
		return take_array(in, arena, &kv->arr);
	return take_scalar(in, kv);
}

static int take_meta(struct input *in, struct linnet_arena *arena, struct linnet_hash_key key,
		     struct meta *meta, uint64_t n)
{
	struct linnet_gguf_kv *kv;
	uint32_t *slot;
	int ret;

	meta->n = 0;
	meta->kv = linnet_arena_array(arena, (size_t)n, sizeof(*kv),
				      alignof(struct linnet_gguf_kv));
	if (!meta->kv)
		return no_memory(in, n * sizeof(*kv));
	ret = index_create(&meta->index, arena, in, (size_t)n);
	if (ret)
		return ret;
	in->section = SECTION_META;
	for (in->number = 0; in->number < n; in->number++) {
		kv = &meta->kv[meta->n];
		ret = take_entry(in, arena, kv);
		if (ret)
			return ret;
		slot = index_slot(&meta->index, key, meta->kv, sizeof(*kv), kv->key.p, kv->key.n);
		if (*slot)
			return fail(in, -EINVAL, "duplicate key, also metadata %u", *slot - 1);
		*slot = (uint32_t)++meta->n;
	}
	in->section = SECTION_FILE;
	in->name = NULL;
	return 0;
}

static const struct linnet_gguf_kv *meta_find(const struct meta *meta, struct linnet_hash_key key,
					      const char *name)
{
	uint32_t *slot;

	slot = index_slot(&meta->index, key, meta->kv, sizeof(*meta->kv), name, strlen(name));
	return *slot ? &meta->kv[*slot - 1] : NULL;
}

static bool is_unsigned(enum linnet_gguf_type type)
{
	return type == LINNET_GGUF_U8 || type == LINNET_GGUF_U16 || type == LINNET_GGUF_U32 ||
	       type == LINNET_GGUF_U64;
}

static bool is_signed(enum linnet_gguf_type type)
{
	return type == LINNET_GGUF_I8 || type == LINNET_GGUF_I16 || type == LINNET_GGUF_I32 ||
	       type == LINNET_GGUF_I64;
}

/* An integer of any type as u32; the message names the file by path. */
static int kv_u32(const struct linnet_gguf_kv *kv, const char *path, uint32_t *out,
		  struct linnet_error *err)
{
	if (!is_unsigned(kv->type) && !is_signed(kv->type))
		return fail_at(err, path, -EINVAL, "%.80s: type %s where an integer is wanted",
			       kv->key.p, value_types[kv->type].name);
	if (is_signed(kv->type) && kv->i < 0)
		return fail_at(err, path, -EINVAL, "%.80s: value %lld is negative", kv->key.p,
			       (long long)kv->i);
	if (kv->u > UINT32_MAX)
		return fail_at(err, path, -EINVAL, "%.80s: value %llu is larger than %u",
			       kv->key.p, (unsigned long long)kv->u, UINT32_MAX);
	*out = (uint32_t)kv->u;
	return 0;
}

/* ---------------------------------------------------------------- one file */

struct header {
	uint32_t version;
	uint64_t n_tensors;
	uint64_t n_entries;
};

static int take_header(struct input *in, struct header *h)
{
	unsigned char magic[4];
	int ret;

	in->section = SECTION_HEADER;
	ret = take(in, magic, sizeof(magic), "magic");
	if (ret)
		return ret;
	if (!memcmp(magic, "FUGG", 4))
		return fail(in, -ENOTSUP, "magic FUGG: a big-endian GGUF file, not supported");
	if (memcmp(magic, "GGUF", 4))
		return fail(in, -EINVAL, "magic %02x %02x %02x %02x, not a GGUF file", magic[0],
			    magic[1], magic[2], magic[3]);
	ret = take_u32(in, &h->version, "version");
	if (ret)
		return ret;
	if (h->version && !(h->version & 0xffff))
		return fail(in, -ENOTSUP, "version 0x%08x: a big-endian GGUF file, not supported",
			    h->version);
	if (h->version != 2 && h->version != 3)
		return fail(in, -ENOTSUP, "version %u; only 2 and 3 are supported", h->version);
	ret = take_u64(in, &h->n_tensors, "tensor count");
	if (ret)
		return ret;
	ret = take_u64(in, &h->n_entries, "metadata count");
	if (ret)
		return ret;
	if (h->n_entries > MAX_ENTRIES)
		return fail(in, -EINVAL, "metadata count %llu is larger than %u",
			    (unsigned long long)h->n_entries, MAX_ENTRIES);
	ret = check_count(in, h->n_entries, MIN_ENTRY, "metadata count");
	if (ret)
		return ret;
	if (h->n_tensors > MAX_TENSORS)
		return fail(in, -EINVAL, "tensor count %llu is larger than %u",
			    (unsigned long long)h->n_tensors, MAX_TENSORS);
	return check_count(in, h->n_tensors, MIN_TENSOR, "tensor count");
}

static int find_alignment(const struct input *in, struct linnet_hash_key key,
			  const struct meta *meta, uint32_t *out)
{
	const struct linnet_gguf_kv *kv = meta_find(meta, key, "general.alignment");
	uint32_t v;
	int ret;

	*out = DEFAULT_ALIGNMENT;
	if (!kv)
		return 0;
	ret = kv_u32(kv, in->path, &v, in->err);
	if (ret)
		return ret;
	if (v < MIN_ALIGNMENT || v > MAX_ALIGNMENT || v & (v - 1))
		return fail(in, -EINVAL, "general.alignment: value %u is not a power of two from "
			    "%u to %u", v, MIN_ALIGNMENT, MAX_ALIGNMENT);
	*out = v;
	return 0;
}

/* One line of the table of tensors; t->offset still counts from the data. */
static int take_tensor(struct input *in, struct linnet_arena *arena, struct linnet_gguf_tensor *t)
{
	const struct linnet_type_info *info;
	const char *name;
	uint64_t n = 1;
	int ret;

	ret = take_name(in, arena, &t->name, MAX_TENSOR_NAME, "name");
	if (ret)
		return ret;
	ret = take_u32(in, &t->n_dims, "n_dims");
	if (ret)
		return ret;
	if (t->n_dims < 1 || t->n_dims > 4)
		return fail(in, -EINVAL, "n_dims %u is not 1 to 4", t->n_dims);
	for (uint32_t i = 0; i < 4; i++)
		t->ne[i] = 1;
	ret = take(in, t->ne, t->n_dims * sizeof(t->ne[0]), "dimensions");
	if (ret)
		return ret;
	for (uint32_t i = 0; i < t->n_dims; i++) {
		if (!t->ne[i])
			return fail(in, -EINVAL, "dimension %u is 0", i);
		if (linnet_mul_overflow(n, t->ne[i], &n) || n > INT64_MAX)
			return fail(in, -EINVAL, "dimension %u of %llu makes more than 2^63 "
				    "elements", i, (unsigned long long)t->ne[i]);
	}
	ret = take_u32(in, &t->type, "type");
	if (ret)
		return ret;
	info = linnet_type_info(t->type);
	if (!info) {
		name = linnet_gguf_tensor_type_name(t->type);
		if (!name)
			return fail(in, -ENOTSUP, "type %u is unknown", t->type);
		return fail(in, -ENOTSUP, "type %u (%s) is not supported", t->type, name);
	}
	if (t->ne[0] % info->block_elems)
		return fail(in, -EINVAL, "dimension 0 of %llu is not a multiple of the %u of a "
			    "%s block", (unsigned long long)t->ne[0], info->block_elems,
			    info->name);
	if (linnet_mul_overflow(n / info->block_elems, info->block_bytes, &t->bytes))
		return fail(in, -EINVAL, "dimensions: %llu elements of type %s are too many",
			    (unsigned long long)n, info->name);
	return take_u64(in, &t->offset, "offset");
}

/* Turn the offset from the data's start into one from the file's. */
static int place_tensor(const struct input *in, struct linnet_gguf_tensor *t, uint64_t data,
			uint32_t alignment)
{
	uint64_t start, end;

	if (t->offset % alignment)
		return fail(in, -EINVAL, "offset %llu is not a multiple of the alignment %u",
			    (unsigned long long)t->offset, alignment);
	if (linnet_add_overflow(data, t->offset, &start) ||
	    linnet_add_overflow(start, t->bytes, &end))
		return fail(in, -EINVAL, "offset %llu and %llu bytes of data overflow",
			    (unsigned long long)t->offset, (unsigned long long)t->bytes);
	if (end > in->size)
		return fail(in, -EINVAL, "offset %llu: %llu bytes of data end at byte %llu, the "
			    "file ends at %llu", (unsigned long long)t->offset,
			    (unsigned long long)t->bytes, (unsigned long long)end,
			    (unsigned long long)in->size);
	t->offset = start;
	return 0;
}

static int by_offset(const void *a, const void *b)
{
	const struct linnet_gguf_tensor *const *ta = a, *const *tb = b;

	return ((*ta)->offset > (*tb)->offset) - ((*ta)->offset < (*tb)->offset);
}

/* No two tensors of one file share bytes. Nearly always they come in order. */
static int check_overlap(struct input *in, const struct linnet_gguf_tensor *t, size_t n)
{
	const struct linnet_gguf_tensor **order, *a, *b;
	bool sorted = true;
	int ret = 0;

	for (size_t i = 1; i < n && sorted; i++)
		sorted = t[i].offset >= t[i - 1].offset + t[i - 1].bytes;
	if (sorted)
		return 0;
	order = malloc(n * sizeof(*order));
	if (!order)
		return no_memory(in, n * sizeof(*order));
	for (size_t i = 0; i < n; i++)
		order[i] = &t[i];
	qsort(order, n, sizeof(*order), by_offset);
	for (size_t i = 1; i < n && !ret; i++) {
		a = order[i - 1];
		b = order[i];
		if (b->offset >= a->offset + a->bytes)
			continue;
		in->number = (uint64_t)(b - t);
		in->name = b->name.p;
		ret = fail(in, -EINVAL, "offset: data at byte %llu overlaps that of tensor %s, "
			   "which ends at byte %llu", (unsigned long long)b->offset, a->name.p,
			   (unsigned long long)(a->offset + a->bytes));
	}
	free(order);
	return ret;
}

static int take_tensors(struct input *in, struct linnet_gguf *g, uint64_t n, uint32_t alignment)
{
	size_t first = g->n_tensors;
	struct linnet_gguf_tensor *t;
	uint64_t data;
	uint32_t *slot;
	int ret;

	in->section = SECTION_TENSOR;
	for (in->number = 0; in->number < n; in->number++) {
		t = &g->tensors[g->n_tensors];
		ret = take_tensor(in, &g->arena, t);
		if (ret)
			return ret;
		t->file = (uint32_t)g->n_parts;
		slot = index_slot(&g->tensor_index, g->hash_key, g->tensors, sizeof(*t),
				  t->name.p, t->name.n);
		if (*slot) {
			t = &g->tensors[*slot - 1];
			return fail(in, -EINVAL, "duplicate name, also tensor %zu of file %u",
				    *slot - 1 - (t->file == g->n_parts ? first : 0), t->file);
		}
		*slot = (uint32_t)++g->n_tensors;
	}
	if (linnet_align_overflow(in->pos, alignment, &data))
		return fail(in, -EINVAL, "no room for data at byte %llu",
			    (unsigned long long)in->pos);
	for (in->number = 0; in->number < n; in->number++) {
		t = &g->tensors[first + in->number];
		in->name = t->name.p;
		ret = place_tensor(in, t, data, alignment);
		if (ret)
			return ret;
	}
	ret = check_overlap(in, g->tensors + first, (size_t)n);
	if (ret)
		return ret;
	in->section = SECTION_FILE;
	in->name = NULL;
	return 0;
}

/* ----------------------------------------------------------- split models */

struct split {
	uint32_t count;			/* 1: not split */
	uint32_t no;
	uint32_t tensors;		/* of all parts */
};

static int find_split(const struct input *in, struct linnet_hash_key key, const struct meta *meta,
		      const struct header *h, struct split *s)
{
	static const char *const names[] = { "split.count", "split.no", "split.tensors.count" };
	uint32_t v[3];
	const struct linnet_gguf_kv *kv;
	int ret;

	s->count = 1;
	s->no = 0;
	s->tensors = (uint32_t)h->n_tensors;
	for (size_t i = 0; i < 3; i++) {
		kv = meta_find(meta, key, names[i]);
		/* A model that was put together again says that it has 0 parts. */
		if (!kv && !i)
			return 0;
		if (!kv)
			return fail(in, -EINVAL, "%s is missing in a file with split.count %u",
				    names[i], v[0]);
		ret = kv_u32(kv, in->path, &v[i], in->err);
		if (ret)
			return ret;
		if (!i && v[0] <= 1)
			return 0;
	}
	if (v[0] > 65535)
		return fail(in, -EINVAL, "split.count: value %u is larger than 65535", v[0]);
	if (v[1] >= v[0])
		return fail(in, -EINVAL, "split.no: value %u is not less than split.count %u",
			    v[1], v[0]);
	if (v[2] > MAX_TENSORS)
		return fail(in, -EINVAL, "split.tensors.count: value %u is larger than %u", v[2],
			    MAX_TENSORS);
	s->count = v[0];
	s->no = v[1];
	s->tensors = v[2];
	return 0;
}

/* What a part is called after the model's name; numbers in names start at 1. */
static void split_suffix(char suffix[SPLIT_SUFFIX + 1], uint32_t no, uint32_t count)
{
	/* Both are at most 65535; the modulus tells the compiler. */
	snprintf(suffix, SPLIT_SUFFIX + 1, "-%05u-of-%05u.gguf", (no + 1) % 100000, count % 100000);
}

/* Path of part no, given that of the part which s describes. */
static int split_path(struct linnet_gguf *g, const struct input *in, const struct split *s,
		      uint32_t no, const char **out)
{
	char suffix[SPLIT_SUFFIX + 1];
	size_t n = strlen(in->path);
	char *p;

	split_suffix(suffix, s->no, s->count);
	if (n <= SPLIT_SUFFIX || strcmp(in->path + n - SPLIT_SUFFIX, suffix))
		return fail(in, -EINVAL, "split.no %u of split.count %u: the name of the file does "
			    "not end in %s", s->no, s->count, suffix);
	p = linnet_arena_str(&g->arena, in->path, n);
	if (!p)
		return no_memory(in, n + 1);
	split_suffix(suffix, no, s->count);
	memcpy(p + n - SPLIT_SUFFIX, suffix, SPLIT_SUFFIX);
	*out = p;
	return 0;
}

/* The part just read must be number no of the model that want describes. */
static int check_part(const struct input *in, const struct linnet_gguf *g, const struct meta *meta,
		      const struct split *want, const struct split *s, uint32_t no)
{
	static const char arch[] = "general.architecture";
	const struct linnet_gguf_kv *a, *b;

	if (s->count != want->count)
		return fail(in, -EINVAL, "split.count: value %u, but %u in another part",
			    s->count, want->count);
	if (s->no != no)
		return fail(in, -EINVAL, "split.no: value %u in part %u of %u; %u is wanted",
			    s->no, no + 1, want->count, no);
	if (s->tensors != want->tensors)
		return fail(in, -EINVAL, "split.tensors.count: value %u, but %u in another part",
			    s->tensors, want->tensors);
	a = meta_find(&g->meta, g->hash_key, arch);
	b = meta_find(meta, g->hash_key, arch);
	if (a && b && a->type == LINNET_GGUF_STRING && b->type == LINNET_GGUF_STRING &&
	    (a->str.n != b->str.n || memcmp(a->str.p, b->str.p, a->str.n)))
		return fail(in, -EINVAL, "%s: value %.64s, but %.64s in the first part", arch,
			    b->str.p, a->str.p);
	return 0;
}

static int add_tensors(struct linnet_gguf *g, struct input *in, const struct header *h,
		       const struct meta *meta, const struct split *s)
{
	uint32_t alignment;
	int ret;

	ret = find_alignment(in, g->hash_key, meta, &alignment);
	if (ret)
		return ret;
	if (!g->n_parts)
		g->alignment = alignment;
	if (h->n_tensors > g->tensors_cap - g->n_tensors)
		return fail(in, -EINVAL, "split.tensors.count: value %u, but the first %zu files "
			    "have %llu tensors", s->tensors, g->n_parts + 1,
			    (unsigned long long)(g->n_tensors + h->n_tensors));
	ret = take_tensors(in, g, h->n_tensors, alignment);
	if (ret)
		return ret;
	g->parts[g->n_parts].path = in->path;
	g->parts[g->n_parts].bytes = in->size;
	g->parts[g->n_parts].stamp = in->stamp;
	g->n_parts++;
	return 0;
}

/* Parts 1 and on; their metadata is looked at and dropped. */
static int add_part(struct linnet_gguf *g, struct input *in, const char *path,
		    const struct split *want, uint32_t no)
{
	struct linnet_arena tmp = { 0 };
	struct meta meta;
	struct header h;
	struct split s;
	int ret;

	ret = input_open(in, path, in->err);
	if (ret)
		return ret;
	ret = take_header(in, &h);
	if (!ret)
		ret = take_meta(in, &tmp, g->hash_key, &meta, h.n_entries);
	if (!ret)
		ret = find_split(in, g->hash_key, &meta, &h, &s);
	if (!ret)
		ret = check_part(in, g, &meta, want, &s, no);
	if (!ret)
		ret = add_tensors(g, in, &h, &meta, &s);
	linnet_arena_free(&tmp);
	input_close(in);
	return ret;
}

/* Open a file and read it up to its table of tensors. */
static int read_head(struct linnet_gguf *g, struct input *in, const char *path,
		     struct linnet_error *err, struct header *h, struct split *s)
{
	int ret;

	ret = input_open(in, path, err);
	if (ret)
		return ret;
	ret = take_header(in, h);
	if (!ret)
		ret = take_meta(in, &g->arena, g->hash_key, &g->meta, h->n_entries);
	if (!ret)
		ret = find_split(in, g->hash_key, &g->meta, h, s);
	return ret;
}

/* Read the head of the model's first file, whichever part was named. */
static int read_first(struct linnet_gguf *g, struct input *in, struct linnet_error *err,
		      struct header *h, struct split *s)
{
	struct split named;
	const char *path;
	int ret;

	ret = read_head(g, in, g->path, err, h, s);
	if (ret || s->count == 1)
		return ret;
	ret = split_path(g, in, s, 0, &path);
	if (ret || !s->no)
		return ret;
	named = *s;
	input_close(in);
	ret = read_head(g, in, path, err, h, s);
	return ret ? ret : check_part(in, g, &g->meta, &named, s, 0);
}

static int read_model(struct linnet_gguf *g, struct input *in, struct linnet_error *err)
{
	struct header h;
	struct split s;
	const char *path;
	int ret;

	ret = read_first(g, in, err, &h, &s);
	if (ret)
		return ret;
	g->version = h.version;
	g->parts = linnet_arena_array(&g->arena, s.count, sizeof(*g->parts), alignof(struct part));
	if (!g->parts)
		return no_memory(in, s.count * sizeof(*g->parts));
	g->tensors_cap = s.tensors;
	g->tensors = linnet_arena_array(&g->arena, s.tensors, sizeof(*g->tensors),
					alignof(struct linnet_gguf_tensor));
	if (!g->tensors)
		return no_memory(in, s.tensors * sizeof(*g->tensors));
	ret = index_create(&g->tensor_index, &g->arena, in, s.tensors);
	if (ret)
		return ret;
	ret = add_tensors(g, in, &h, &g->meta, &s);
	if (ret)
		return ret;
	input_close(in);
	for (uint32_t no = 1; no < s.count; no++) {
		in->path = g->parts[0].path;
		ret = split_path(g, in, &s, no, &path);
		if (!ret)
			ret = add_part(g, in, path, &s, no);
		if (ret)
			return ret;
	}
	if (g->n_tensors != g->tensors_cap)
		return fail_at(err, g->path, -EINVAL, "split.tensors.count: value %zu, but the "
			       "%zu files have %zu tensors", g->tensors_cap, g->n_parts,
			       g->n_tensors);
	return 0;
}

int linnet_gguf_open(struct linnet_gguf **out, const char *path, struct linnet_error *err)
{
	struct linnet_gguf *g;
	struct input *in;
	int ret = -ENOMEM;

	*out = NULL;
	g = calloc(1, sizeof(*g));
	in = malloc(sizeof(*in));
	if (g && in)
		g->path = linnet_arena_str(&g->arena, path, strlen(path));
	if (!g || !in || !g->path) {
		fail_at(err, path, ret, "no memory to open the file");
		goto err_free;
	}
	in->fd = -1;
	g->hash_key = linnet_hash_key();
	ret = read_model(g, in, err);
	input_close(in);
	if (ret)
		goto err_free;
	free(in);
	*out = g;
	return 0;

err_free:
	free(in);
	linnet_gguf_close(g);
	return ret;
}

void linnet_gguf_close(struct linnet_gguf *g)
{
	if (!g)
		return;
	linnet_arena_free(&g->arena);
	free(g);
}

/* ---------------------------------------------------------------- look-ups */

const char *linnet_gguf_path(const struct linnet_gguf *g)
{
	return g->path;
}

uint32_t linnet_gguf_version(const struct linnet_gguf *g)
{
	return g->version;
}

uint32_t linnet_gguf_alignment(const struct linnet_gguf *g)
{
	return g->alignment;
}

size_t linnet_gguf_file_count(const struct linnet_gguf *g)
{
	return g->n_parts;
}

const char *linnet_gguf_file_path(const struct linnet_gguf *g, size_t i)
{
	return i < g->n_parts ? g->parts[i].path : NULL;
}

uint64_t linnet_gguf_file_bytes(const struct linnet_gguf *g, size_t i)
{
	return i < g->n_parts ? g->parts[i].bytes : 0;
}

struct linnet_gguf_stamp linnet_gguf_file_stamp(const struct linnet_gguf *g, size_t i)
{
	return i < g->n_parts ? g->parts[i].stamp : (struct linnet_gguf_stamp){ 0 };
}

size_t linnet_gguf_memory(const struct linnet_gguf *g)
{
	return sizeof(*g) + g->arena.bytes;
}

size_t linnet_gguf_kv_count(const struct linnet_gguf *g)
{
	return g->meta.n;
}

const struct linnet_gguf_kv *linnet_gguf_kv(const struct linnet_gguf *g, size_t i)
{
	return i < g->meta.n ? &g->meta.kv[i] : NULL;
}

const struct linnet_gguf_kv *linnet_gguf_find(const struct linnet_gguf *g, const char *key)
{
	return meta_find(&g->meta, g->hash_key, key);
}

size_t linnet_gguf_tensor_count(const struct linnet_gguf *g)
{
	return g->n_tensors;
}

const struct linnet_gguf_tensor *linnet_gguf_tensor(const struct linnet_gguf *g, size_t i)
{
	return i < g->n_tensors ? &g->tensors[i] : NULL;
}

const struct linnet_gguf_tensor *linnet_gguf_find_tensor(const struct linnet_gguf *g,
							 const char *name)
{
	uint32_t *slot;

	slot = index_slot(&g->tensor_index, g->hash_key, g->tensors, sizeof(*g->tensors), name,
			  strlen(name));
	return *slot ? &g->tensors[*slot - 1] : NULL;
}

__attribute__((cold))
static int wrong_type(const struct linnet_gguf *g, const struct linnet_gguf_kv *kv,
		      const char *wanted, struct linnet_error *err)
{
	const char *elem = kv->type == LINNET_GGUF_ARRAY ? value_types[kv->arr.type].name : "";

	return fail_at(err, g->path, -EINVAL, "%.80s: type %s%s%s%s where %s is wanted", kv->key.p,
		       value_types[kv->type].name, *elem ? "[" : "", elem, *elem ? "]" : "",
		       wanted);
}

int linnet_gguf_get_u32(const struct linnet_gguf *g, const char *key, uint32_t *out,
			struct linnet_error *err)
{
	const struct linnet_gguf_kv *kv = linnet_gguf_find(g, key);

	return kv ? kv_u32(kv, g->path, out, err) : -ENOENT;
}

int linnet_gguf_get_f32(const struct linnet_gguf *g, const char *key, float *out,
			struct linnet_error *err)
{
	const struct linnet_gguf_kv *kv = linnet_gguf_find(g, key);
	double v;

	if (!kv)
		return -ENOENT;
	if (kv->type == LINNET_GGUF_F32 || kv->type == LINNET_GGUF_F64)
		v = kv->f;
	else if (is_unsigned(kv->type))
		v = (double)kv->u;
	else if (is_signed(kv->type))
		v = (double)kv->i;
	else
		return wrong_type(g, kv, "a number", err);
	if (!isfinite(v) || fabs(v) > FLT_MAX)
		return fail_at(err, g->path, -EINVAL, "%.80s: value %g is not a finite f32",
			       kv->key.p, v);
	*out = (float)v;
	return 0;
}

int linnet_gguf_get_bool(const struct linnet_gguf *g, const char *key, bool *out,
			 struct linnet_error *err)
{
	const struct linnet_gguf_kv *kv = linnet_gguf_find(g, key);

	if (!kv)
		return -ENOENT;
	if (kv->type != LINNET_GGUF_BOOL)
		return wrong_type(g, kv, "bool", err);
	*out = kv->u;
	return 0;
}

int linnet_gguf_get_str(const struct linnet_gguf *g, const char *key, struct linnet_str *out,
			struct linnet_error *err)
{
	const struct linnet_gguf_kv *kv = linnet_gguf_find(g, key);

	if (!kv)
		return -ENOENT;
	if (kv->type != LINNET_GGUF_STRING)
		return wrong_type(g, kv, "str", err);
	*out = kv->str;
	return 0;
}

int linnet_gguf_get_array(const struct linnet_gguf *g, const char *key,
			  enum linnet_gguf_type type, struct linnet_gguf_array *out,
			  struct linnet_error *err)
{
	const struct linnet_gguf_kv *kv = linnet_gguf_find(g, key);
	const uint32_t *v;
	char wanted[16];

	if (!kv)
		return -ENOENT;
	snprintf(wanted, sizeof(wanted), "arr[%s]", value_types[type].name);
	if (kv->type != LINNET_GGUF_ARRAY)
		return wrong_type(g, kv, wanted, err);
	if (type == LINNET_GGUF_I32 && kv->arr.type == LINNET_GGUF_U32) {
		v = kv->arr.data;
		for (size_t i = 0; i < kv->arr.n; i++) {
			if (v[i] > INT32_MAX)
				return fail_at(err, g->path, -EINVAL, "%.80s: element %zu, %u, is "
					       "larger than %d", kv->key.p, i, v[i], INT32_MAX);
		}
	} else if (kv->arr.type != type) {
		return wrong_type(g, kv, wanted, err);
	}
	*out = kv->arr;
	out->type = type;
	return 0;
}
