/* SPDX-License-Identifier: MIT */
/*
 * GGUF files, versions 2 and 3, little-endian, whole or split: metadata and the
 * table of tensors. Knows nothing of engines and reads no tensor data. The file
 * is untrusted: every count, length and offset is checked before it is used.
 * Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
#ifndef LINNET_FORMAT_GGUF_H
#define LINNET_FORMAT_GGUF_H

#include <linnet/linnet.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum linnet_gguf_type {
	LINNET_GGUF_U8 = 0,
	LINNET_GGUF_I8 = 1,
	LINNET_GGUF_U16 = 2,
	LINNET_GGUF_I16 = 3,
	LINNET_GGUF_U32 = 4,
	LINNET_GGUF_I32 = 5,
	LINNET_GGUF_F32 = 6,
	LINNET_GGUF_BOOL = 7,
	LINNET_GGUF_STRING = 8,
	LINNET_GGUF_ARRAY = 9,
	LINNET_GGUF_U64 = 10,
	LINNET_GGUF_I64 = 11,
	LINNET_GGUF_F64 = 12,
};

/* A string in the file: n bytes, and p[n] == 0. May hold zero bytes. */
struct linnet_str {
	const char *p;
	size_t n;
};

/* An array's elements. For strings data is a struct linnet_str[n]; for numbers
 * the elements in host order, aligned for their type. */
struct linnet_gguf_array {
	enum linnet_gguf_type type;
	size_t n;
	const void *data;
};

/* One metadata entry. Scalars are widened: integers and bool to i (or u),
 * floats to f. */
struct linnet_gguf_kv {
	struct linnet_str key;
	enum linnet_gguf_type type;
	union {
		uint64_t u;
		int64_t i;
		double f;
		struct linnet_str str;
		struct linnet_gguf_array arr;
	};
};

/* One tensor. ne[] beyond n_dims is 1; ne[0] is the innermost dimension.
 * offset is absolute in file number `file`; bytes lie wholly inside it. */
struct linnet_gguf_tensor {
	struct linnet_str name;
	uint32_t type;			/* enum linnet_type, one that is supported */
	uint32_t n_dims;
	uint64_t ne[4];
	uint64_t bytes;
	uint32_t file;
	uint64_t offset;
};

struct linnet_gguf;

/*
 * Open a file, and all parts of a split model when it is one (any part may be
 * named). Metadata is that of the first part. 0 or -errno; err says what is wrong:
 * the file, the field and the value. -EINVAL: the file is damaged or not GGUF, or
 * its parts do not belong together; -ENOTSUP: big-endian, another version, nested
 * arrays or a tensor type that is not supported; -EISDIR; -EIO: it cannot be read
 * or shrinks meanwhile; -ENOMEM. Limits: 256 MiB of metadata, 65,536 entries,
 * 262,144 tensors, alignment 8 to 16 MiB. Files are not kept open.
 */
int linnet_gguf_open(struct linnet_gguf **out, const char *path, struct linnet_error *err);
void linnet_gguf_close(struct linnet_gguf *g);

/* Path the caller gave; for messages. */
const char *linnet_gguf_path(const struct linnet_gguf *g);
uint32_t linnet_gguf_version(const struct linnet_gguf *g);
uint32_t linnet_gguf_alignment(const struct linnet_gguf *g);

/* Files of the model, in order of their parts. */
size_t linnet_gguf_file_count(const struct linnet_gguf *g);
const char *linnet_gguf_file_path(const struct linnet_gguf *g, size_t i);
uint64_t linnet_gguf_file_bytes(const struct linnet_gguf *g, size_t i);
/* What sets a file apart from any other, and from itself when it is written to. */
struct linnet_gguf_stamp {
	uint64_t dev, ino, bytes;
	int64_t sec, nsec;		/* of the last change of its content */
};
struct stat;
struct linnet_gguf_stamp linnet_gguf_stamp_of(const struct stat *st);
/* Of a file when its table of tensors was read. */
struct linnet_gguf_stamp linnet_gguf_file_stamp(const struct linnet_gguf *g, size_t i);

/* Bytes of memory that the metadata and the tables take. */
size_t linnet_gguf_memory(const struct linnet_gguf *g);

/* "u32", "str", "arr"; NULL for a number that is none. */
const char *linnet_gguf_type_name(enum linnet_gguf_type type);
/* "IQ2_XXS": any tensor type the format knows, supported or not; NULL for others. */
const char *linnet_gguf_tensor_type_name(uint32_t type);

/* Entries in the order of the file. */
size_t linnet_gguf_kv_count(const struct linnet_gguf *g);
const struct linnet_gguf_kv *linnet_gguf_kv(const struct linnet_gguf *g, size_t i);
/* NULL when there is none. */
const struct linnet_gguf_kv *linnet_gguf_find(const struct linnet_gguf *g, const char *key);

/* Tensors in the order of the files. */
size_t linnet_gguf_tensor_count(const struct linnet_gguf *g);
const struct linnet_gguf_tensor *linnet_gguf_tensor(const struct linnet_gguf *g, size_t i);
const struct linnet_gguf_tensor *linnet_gguf_find_tensor(const struct linnet_gguf *g,
							 const char *name);

/*
 * Typed look-ups. 0; -ENOENT when the key is absent (*out and err untouched); -EINVAL
 * and a message when its type or range does not fit. Any integer type is
 * accepted where an integer is asked for, F32 and F64 where a float is, and an
 * integer too for a float. Floats must be finite.
 */
int linnet_gguf_get_u32(const struct linnet_gguf *g, const char *key, uint32_t *out,
			struct linnet_error *err);
int linnet_gguf_get_f32(const struct linnet_gguf *g, const char *key, float *out,
			struct linnet_error *err);
int linnet_gguf_get_bool(const struct linnet_gguf *g, const char *key, bool *out,
			 struct linnet_error *err);
int linnet_gguf_get_str(const struct linnet_gguf *g, const char *key, struct linnet_str *out,
			struct linnet_error *err);
/* type: the element type wanted and no other, but U32 that fits is given as I32. */
int linnet_gguf_get_array(const struct linnet_gguf *g, const char *key,
			  enum linnet_gguf_type type, struct linnet_gguf_array *out,
			  struct linnet_error *err);

#endif
