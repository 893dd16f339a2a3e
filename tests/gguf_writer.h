/* SPDX-License-Identifier: MIT */
/*
 * Writes GGUF files byte by byte, right ones and wrong ones: whatever is put into
 * struct gguf_file comes out, nothing is checked. Memory that is missing ends the
 * program, as it is one for tests.
 */
#ifndef LINNET_TESTS_GGUF_WRITER_H
#define LINNET_TESTS_GGUF_WRITER_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bytes {
	unsigned char *p;
	size_t n, cap;
};

static inline void put(struct bytes *b, const void *p, size_t n)
{
	if (b->n + n > b->cap) {
		b->cap = 2 * (b->n + n) + 256;
		b->p = realloc(b->p, b->cap);
		if (!b->p)
			abort();
	}
	if (n)
		memcpy(b->p + b->n, p, n);
	b->n += n;
}

static inline void put_zero(struct bytes *b, size_t n)
{
	static const unsigned char zero[256];

	for (; n > sizeof(zero); n -= sizeof(zero))
		put(b, zero, sizeof(zero));
	put(b, zero, n);
}

static inline void put_u8(struct bytes *b, uint8_t v)
{
	put(b, &v, sizeof(v));
}

static inline void put_u32(struct bytes *b, uint32_t v)
{
	put(b, &v, sizeof(v));
}

static inline void put_u64(struct bytes *b, uint64_t v)
{
	put(b, &v, sizeof(v));
}

static inline void put_strn(struct bytes *b, const char *s, size_t n)
{
	put_u64(b, n);
	put(b, s, n);
}

static inline void put_str(struct bytes *b, const char *s)
{
	put_strn(b, s, strlen(s));
}

/* A count of the file that is what was written, unless a test says otherwise. */
#define GGUF_AUTO 0xfeedfacefeedfaceu

struct gguf_tensor_row {
	const char *name;
	uint64_t name_n;		/* length as written; 0: that of name */
	uint32_t n_dims;
	uint64_t ne[8];
	uint32_t type;
	uint64_t offset;
};

struct gguf_file {
	char magic[4];
	uint32_t version;
	uint64_t n_tensors, n_kv;	/* as written in the header */
	struct bytes kv;
	uint64_t kv_count;
	struct gguf_tensor_row t[16];
	size_t nt;
	uint64_t align;			/* of the padding before the data */
	size_t data_bytes;
};

static inline void gguf_init(struct gguf_file *f)
{
	*f = (struct gguf_file) {
		.magic = "GGUF", .version = 3, .n_tensors = GGUF_AUTO, .n_kv = GGUF_AUTO,
		.align = 32,
	};
}

/* Key and type of an entry; the value follows with put_*(&f->kv, ...). */
static inline void gguf_entry(struct gguf_file *f, const char *key, uint32_t type)
{
	put_str(&f->kv, key);
	put_u32(&f->kv, type);
	f->kv_count++;
}

static inline void gguf_kv_str(struct gguf_file *f, const char *key, const char *value)
{
	gguf_entry(f, key, 8);
	put_str(&f->kv, value);
}

static inline void gguf_kv_u32(struct gguf_file *f, const char *key, uint32_t value)
{
	gguf_entry(f, key, 4);
	put_u32(&f->kv, value);
}

static inline void gguf_kv_array(struct gguf_file *f, const char *key, uint32_t type, uint64_t n)
{
	gguf_entry(f, key, 9);
	put_u32(&f->kv, type);
	put_u64(&f->kv, n);
}

/* The whole file; frees the entries of f. free() the result's p. */
static inline struct bytes gguf_bytes(struct gguf_file *f)
{
	struct bytes b = { 0 };

	put(&b, f->magic, 4);
	put_u32(&b, f->version);
	put_u64(&b, f->n_tensors == GGUF_AUTO ? f->nt : f->n_tensors);
	put_u64(&b, f->n_kv == GGUF_AUTO ? f->kv_count : f->n_kv);
	put(&b, f->kv.p, f->kv.n);
	for (size_t i = 0; i < f->nt; i++) {
		const struct gguf_tensor_row *t = &f->t[i];
		size_t n = strlen(t->name);

		put_u64(&b, t->name_n ? t->name_n : n);
		put(&b, t->name, t->name_n > n && t->name_n < 256 ? t->name_n : n);
		put_u32(&b, t->n_dims);
		for (uint32_t d = 0; d < t->n_dims && d < 8; d++)
			put_u64(&b, t->ne[d]);
		put_u32(&b, t->type);
		put_u64(&b, t->offset);
	}
	if (f->nt && f->align)
		put_zero(&b, -b.n & (f->align - 1));
	for (size_t i = 0; i < f->data_bytes; i++)
		put_u8(&b, (uint8_t)(i * 37 + 11));
	free(f->kv.p);
	f->kv = (struct bytes) { 0 };
	return b;
}

/* 0, or -1 with errno. */
static inline int write_file(const char *path, const void *p, size_t n)
{
	FILE *file = fopen(path, "wb");
	size_t done;

	if (!file)
		return -1;
	done = fwrite(p, 1, n, file);
	return fclose(file) || done != n ? -1 : 0;
}

#endif
