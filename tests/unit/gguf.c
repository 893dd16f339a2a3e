// SPDX-License-Identifier: MIT
/*
 * runtime/format/gguf.h: what is in a file comes out; a file that is wrong in any one
 * place is refused with a line that names file, field and value.
 */
#include "runtime/format/gguf.h"
#include "tests/gguf_writer.h"
#include "tests/test.h"

#include <errno.h>
#include <float.h>
#include <math.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static char dir[4096];

/* A path in the test's folder. Not reentrant. */
static const char *in_dir(const char *name)
{
	static char path[8192];

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return path;
}

/* ------------------------------------------------------- reads that misbehave */

static enum { READ_PLAIN, READ_ONE_BYTE, READ_EINTR, READ_EIO, READ_SHRINK } read_mode;
static int read_calls;

/* The library's reads come here: the program's own symbol is found first. */
ssize_t pread(int fd, void *p, size_t n, off_t offset)
{
	int call = read_calls++;

	switch (read_mode) {
	case READ_PLAIN:
		break;
	case READ_ONE_BYTE:
		n = 1;
		break;
	case READ_EINTR:
		if (call % 2 == 0) {
			errno = EINTR;
			return -1;
		}
		break;
	case READ_EIO:
		if (call == 1) {
			errno = EIO;
			return -1;
		}
		break;
	case READ_SHRINK:
		if (call == 1 && truncate(in_dir("model.gguf"), 65536))
			return -1;
		break;
	}
	return syscall(SYS_pread64, fd, p, n, offset);
}

/* ------------------------------------------------------------------- tools */

/* Two tensors and an entry: the file that the cases below damage. */
static void base(struct gguf_file *f)
{
	gguf_init(f);
	gguf_kv_str(f, "general.architecture", "llama");
	f->nt = 2;
	f->t[0] = (struct gguf_tensor_row) { "a.weight", 0, 2, { 4, 2 }, 0, 0 };
	f->t[1] = (struct gguf_tensor_row) { "b.weight", 0, 1, { 32 }, 8, 32 };
	f->data_bytes = 32 + 34;
}

static const char *save(struct gguf_file *f, const char *name)
{
	struct bytes b = gguf_bytes(f);
	const char *path = in_dir(name);

	if (write_file(path, b.p, b.n))
		test_ok(false, "write %s: %s", path, strerror(errno));
	free(b.p);
	return path;
}

static bool has(const struct linnet_error *err, const char *text)
{
	return strstr(err->message, text) != NULL;
}

/* The file must be refused with this code and a line that holds path and both texts. */
static void refused(const char *what, const char *path, int code, const char *field,
		    const char *value)
{
	struct linnet_error err = { 0 };
	struct linnet_gguf *g = (void *)1;
	int ret = linnet_gguf_open(&g, path, &err);
	bool ok = ret == code && !g && err.code == code && has(&err, path) && has(&err, field) &&
		  has(&err, value) && !strchr(err.message, '\n');

	test_ok(ok, "refused: %s", what);
	if (!ok)
		printf("# %d \"%s\"; wanted %d, \"%s\" and \"%s\"\n", ret,
		       ret ? err.message : "", code, field, value);
	if (!ret)
		linnet_gguf_close(g);
}

static struct linnet_gguf *opened(const char *what, const char *path)
{
	struct linnet_error err = { 0 };
	struct linnet_gguf *g;

	if (!test_ok(!linnet_gguf_open(&g, path, &err), "open: %s", what)) {
		printf("# %s\n", err.message);
		return NULL;
	}
	return g;
}

/* ------------------------------------------------------------- malformed files */

static void align_to(struct gguf_file *f, uint32_t v)
{
	gguf_kv_u32(f, "general.alignment", v);
}

static char long_name[70000];

/* id, code, field, value, how the base file is damaged */
#define MALFORMED(X) \
X(magic, -EINVAL, "magic", "47 47 55 4d", memcpy(f->magic, "GGUM", 4)) \
X(magic_ggml, -EINVAL, "magic", "not a GGUF file", memcpy(f->magic, "lmgg", 4)) \
X(magic_swapped, -ENOTSUP, "magic", "big-endian", memcpy(f->magic, "FUGG", 4)) \
X(big_endian, -ENOTSUP, "version 0x03000000", "big-endian", f->version = 0x03000000) \
X(version_0, -ENOTSUP, "header", "version 0", f->version = 0) \
X(version_1, -ENOTSUP, "header", "version 1", f->version = 1) \
X(version_4, -ENOTSUP, "header", "version 4", f->version = 4) \
X(version_max, -ENOTSUP, "header", "version 4294967295", f->version = UINT32_MAX) \
X(kv_count_max, -EINVAL, "metadata count", "18446744073709551615", f->n_kv = UINT64_MAX) \
X(kv_count_cap, -EINVAL, "metadata count", "65537", f->n_kv = 65537) \
X(kv_count_bytes, -EINVAL, "metadata count", "1000", f->n_kv = 1000) \
X(kv_count_less, -EINVAL, "tensor 0 (general.architecture)", "n_dims 8", f->n_kv = 0) \
X(kv_count_more, -EINVAL, "tensor 0", "name of 562949953421312 bytes", f->n_kv = 2) \
X(tensor_count_max, -EINVAL, "tensor count", "18446744073709551615", f->n_tensors = UINT64_MAX) \
X(tensor_count_cap, -EINVAL, "tensor count", "262145", f->n_tensors = 262145) \
X(tensor_count_bytes, -EINVAL, "tensor count", "100", f->n_tensors = 100) \
X(tensor_count_more, -EINVAL, "tensor 2", "name of 0 bytes", \
  f->n_tensors = 3; f->align = 512) \
X(key_empty, -EINVAL, "metadata 1", "key of 0 bytes", gguf_kv_u32(f, "", 1)) \
X(key_long, -EINVAL, "metadata 1", "key of 65536 bytes", \
  long_name[65536] = 0; gguf_kv_u32(f, long_name, 1); long_name[65536] = 'x') \
X(key_length_max, -EINVAL, "metadata 1", "key of 18446744073709551615 bytes", \
  put_u64(&f->kv, UINT64_MAX); f->kv_count++) \
X(key_length_past_end, -EINVAL, "metadata 1", "truncated: key needs 5000 bytes", \
  put_u64(&f->kv, 5000); f->kv_count++) \
X(key_zero_byte, -EINVAL, "metadata 1", "byte 0x00 at 1", \
  put_strn(&f->kv, "a\0b", 3); put_u32(&f->kv, 0); put_u8(&f->kv, 0); f->kv_count++) \
X(key_newline, -EINVAL, "metadata 1", "byte 0x0a at 2", gguf_kv_u32(f, "ab\n", 1)) \
X(key_space, -EINVAL, "metadata 1", "byte 0x20 at 0", gguf_kv_u32(f, " a", 1)) \
X(key_not_ascii, -EINVAL, "metadata 1", "byte 0xc3 at 3", gguf_kv_u32(f, "key\303\244", 1)) \
X(key_twice, -EINVAL, "metadata 1 (general.architecture)", "duplicate key", \
  gguf_kv_u32(f, "general.architecture", 1)) \
X(key_twice_later, -EINVAL, "metadata 3 (x)", "duplicate key, also metadata 1", \
  gguf_kv_u32(f, "x", 1); gguf_kv_u32(f, "y", 1); gguf_kv_u32(f, "x", 1)) \
X(value_type_13, -EINVAL, "metadata 1 (k)", "value type 13", gguf_entry(f, "k", 13)) \
X(value_type_max, -EINVAL, "metadata 1 (k)", "value type 4294967295", \
  gguf_entry(f, "k", UINT32_MAX)) \
X(bool_2, -EINVAL, "metadata 1 (k)", "bool value 2", \
  gguf_entry(f, "k", 7); put_u8(&f->kv, 2)) \
X(bool_255, -EINVAL, "metadata 1 (k)", "bool value 255", \
  gguf_entry(f, "k", 7); put_u8(&f->kv, 255)) \
X(bool_in_array, -EINVAL, "metadata 1 (k)", "bool value 3", \
  gguf_kv_array(f, "k", 7, 2); put_u8(&f->kv, 1); put_u8(&f->kv, 3)) \
X(array_type_13, -EINVAL, "metadata 1 (k)", "array element type 13", \
  gguf_kv_array(f, "k", 13, 0)) \
X(array_nested, -ENOTSUP, "metadata 1 (k)", "nested arrays", \
  gguf_kv_array(f, "k", 9, 1); put_u32(&f->kv, 4); put_u64(&f->kv, 0)) \
X(array_length_max, -EINVAL, "metadata 1 (k)", "array length 18446744073709551615", \
  gguf_kv_array(f, "k", 0, UINT64_MAX)) \
X(array_bytes_wrap, -EINVAL, "metadata 1 (k)", "array length 2305843009213693952", \
  gguf_kv_array(f, "k", 12, 1ull << 61)) \
X(array_strings_wrap, -EINVAL, "metadata 1 (k)", "array length 1152921504606846976", \
  gguf_kv_array(f, "k", 8, 1ull << 60)) \
X(array_strings_many, -EINVAL, "metadata 1 (k)", "array length 30", \
  gguf_kv_array(f, "k", 8, 30)) \
X(array_past_end, -EINVAL, "metadata 1 (k)", "array length 100", gguf_kv_array(f, "k", 4, 100)) \
X(array_string_max, -EINVAL, "metadata 1 (k)", "18446744073709551615 bytes", \
  gguf_kv_array(f, "k", 8, 1); put_u64(&f->kv, UINT64_MAX)) \
X(array_string_past_end, -EINVAL, "metadata 1 (k)", "truncated: array string needs 999 bytes", \
  gguf_kv_array(f, "k", 8, 1); put_u64(&f->kv, 999)) \
X(string_max, -EINVAL, "metadata 1 (k)", "string value needs 18446744073709551615 bytes", \
  gguf_entry(f, "k", 8); put_u64(&f->kv, UINT64_MAX)) \
X(string_sign, -EINVAL, "metadata 1 (k)", "string value needs 9223372036854775808 bytes", \
  gguf_entry(f, "k", 8); put_u64(&f->kv, 1ull << 63)) \
X(string_past_end, -EINVAL, "metadata 1 (k)", "truncated: string value needs 400 bytes", \
  gguf_entry(f, "k", 8); put_u64(&f->kv, 400)) \
X(alignment_0, -EINVAL, "general.alignment", "value 0", align_to(f, 0)) \
X(alignment_3, -EINVAL, "general.alignment", "value 3", align_to(f, 3)) \
X(alignment_4, -EINVAL, "general.alignment", "value 4 ", align_to(f, 4)) \
X(alignment_48, -EINVAL, "general.alignment", "value 48", align_to(f, 48)) \
X(alignment_huge, -EINVAL, "general.alignment", "value 33554432", align_to(f, 1u << 25)) \
X(alignment_sign, -EINVAL, "general.alignment", "value 2147483648", align_to(f, 1u << 31)) \
X(alignment_str, -EINVAL, "general.alignment", "type str", \
  gguf_kv_str(f, "general.alignment", "32")) \
X(alignment_f32, -EINVAL, "general.alignment", "type f32", \
  gguf_entry(f, "general.alignment", 6); put_u32(&f->kv, 0x42000000)) \
X(alignment_negative, -EINVAL, "general.alignment", "value -32 ", \
  gguf_entry(f, "general.alignment", 5); put_u32(&f->kv, (uint32_t)-32)) \
X(alignment_u64, -EINVAL, "general.alignment", "value 4294967328", \
  gguf_entry(f, "general.alignment", 10); put_u64(&f->kv, (1ull << 32) + 32)) \
X(name_empty, -EINVAL, "tensor 1", "name of 0 bytes", f->t[1].name = "") \
X(name_long, -EINVAL, "tensor 1", "name of 65 bytes", f->t[1].name = \
  "12345678901234567890123456789012345678901234567890123456789012345") \
X(name_length_max, -EINVAL, "tensor 0", "name of 18446744073709551615 bytes", \
  f->t[0].name_n = UINT64_MAX) \
X(name_zero_byte, -EINVAL, "tensor 0", "byte 0x00 at 1", \
  f->t[0].name = "a\0weight"; f->t[0].name_n = 8) \
X(name_control, -EINVAL, "tensor 1", "byte 0x1b at 1", f->t[1].name = "b\033[31m") \
X(name_twice, -EINVAL, "tensor 1 (a.weight)", "duplicate name, also tensor 0", \
  f->t[1].name = "a.weight") \
X(n_dims_0, -EINVAL, "tensor 0 (a.weight)", "n_dims 0", f->t[0].n_dims = 0) \
X(n_dims_5, -EINVAL, "tensor 0 (a.weight)", "n_dims 5", f->t[0].n_dims = 5) \
X(n_dims_max, -EINVAL, "tensor 1 (b.weight)", "n_dims 4294967295", \
  f->t[1].n_dims = UINT32_MAX) \
X(dim_0_is_0, -EINVAL, "tensor 0 (a.weight)", "dimension 0 is 0", f->t[0].ne[0] = 0) \
X(dim_1_is_0, -EINVAL, "tensor 0 (a.weight)", "dimension 1 is 0", f->t[0].ne[1] = 0) \
X(dims_wrap, -EINVAL, "tensor 0 (a.weight)", "dimension 1 of 4294967296", \
  f->t[0].ne[0] = 1ull << 32; f->t[0].ne[1] = 1ull << 32) \
X(dims_sign, -EINVAL, "tensor 0 (a.weight)", "dimension 0 of 9223372036854775808", \
  f->t[0].ne[0] = 1ull << 63) \
X(dims_bytes_wrap, -EINVAL, "tensor 0 (a.weight)", "4611686018427387904 elements", \
  f->t[0].n_dims = 1; f->t[0].ne[0] = 1ull << 62) \
X(row_not_blocks, -EINVAL, "tensor 1 (b.weight)", "dimension 0 of 33", f->t[1].ne[0] = 33) \
X(row_not_super_block, -EINVAL, "tensor 1 (b.weight)", "256 of a Q4_K block", \
  f->t[1].type = 12) \
X(row_short_many, -EINVAL, "tensor 1 (b.weight)", "dimension 0 of 16", \
  f->t[1].n_dims = 2; f->t[1].ne[0] = 16; f->t[1].ne[1] = 2) \
X(type_iq2_xxs, -ENOTSUP, "tensor 1 (b.weight)", "type 16 (IQ2_XXS)", f->t[1].type = 16) \
X(type_tq1_0, -ENOTSUP, "tensor 1 (b.weight)", "type 34 (TQ1_0)", f->t[1].type = 34) \
X(type_q8_1, -ENOTSUP, "tensor 1 (b.weight)", "type 9 (Q8_1)", f->t[1].type = 9) \
X(type_q4_2, -ENOTSUP, "tensor 1 (b.weight)", "type 4 (Q4_2)", f->t[1].type = 4) \
X(type_f64, -ENOTSUP, "tensor 1 (b.weight)", "type 28 (F64)", f->t[1].type = 28) \
X(type_iq4_ks, -ENOTSUP, "tensor 1 (b.weight)", "type 144 (IQ4_KS)", f->t[1].type = 144) \
X(type_q4_k_r4, -ENOTSUP, "tensor 1 (b.weight)", "type 212 (Q4_K_R4)", f->t[1].type = 212) \
X(type_unknown, -ENOTSUP, "tensor 1 (b.weight)", "type 1000 is unknown", f->t[1].type = 1000) \
X(type_max, -ENOTSUP, "tensor 1 (b.weight)", "type 4294967295", f->t[1].type = UINT32_MAX) \
X(offset_1, -EINVAL, "tensor 1 (b.weight)", "offset 33 ", f->t[1].offset = 33) \
X(offset_alignment, -EINVAL, "tensor 1 (b.weight)", "alignment 64", align_to(f, 64); \
  f->align = 64) \
X(offset_wrap, -EINVAL, "tensor 1 (b.weight)", "offset 18446744073709551584", \
  f->t[1].offset = -32ull) \
X(offset_sign, -EINVAL, "tensor 1 (b.weight)", "offset 9223372036854775808", \
  f->t[1].offset = 1ull << 63) \
X(offset_past_end, -EINVAL, "tensor 1 (b.weight)", "offset 4096", f->t[1].offset = 4096) \
X(data_one_byte_short, -EINVAL, "tensor 1 (b.weight)", "34 bytes of data", f->data_bytes--) \
X(data_missing, -EINVAL, "tensor 0 (a.weight)", "32 bytes of data", \
  f->data_bytes = 0; f->align = 0) \
X(same_offset, -EINVAL, "tensor 1 (b.weight)", "overlaps that of tensor a.weight", \
  f->t[1].offset = 0) \
X(overlap, -EINVAL, "tensor 1 (b.weight)", "overlaps that of tensor a.weight", \
  f->t[0].ne[1] = 3; f->data_bytes = 128) \
X(overlap_out_of_order, -EINVAL, "tensor 0 (a.weight)", "overlaps that of tensor b.weight", \
  f->t[0].offset = 32; f->t[1].offset = 0; f->data_bytes = 128) \
X(overlap_inside, -EINVAL, "tensor 1 (b.weight)", "overlaps that of tensor a.weight", \
  f->t[0].ne[0] = 64; f->data_bytes = 1024) \
X(split_no_missing, -EINVAL, "split.no", "split.count 2", gguf_kv_u32(f, "split.count", 2)) \
X(split_count_type, -EINVAL, "split.count", "type str", gguf_kv_str(f, "split.count", "2")) \
X(split_count_large, -EINVAL, "split.count", "value 65536", gguf_kv_u32(f, "split.count", 65536); \
  gguf_kv_u32(f, "split.no", 0); gguf_kv_u32(f, "split.tensors.count", 2)) \
X(split_no_large, -EINVAL, "split.no", "value 2 ", gguf_kv_u32(f, "split.count", 2); \
  gguf_kv_u32(f, "split.no", 2); gguf_kv_u32(f, "split.tensors.count", 2)) \
X(split_tensors_missing, -EINVAL, "split.tensors.count", "missing", \
  gguf_kv_u32(f, "split.count", 2); gguf_kv_u32(f, "split.no", 0)) \
X(split_tensors_large, -EINVAL, "split.tensors.count", "value 4294967295", \
  gguf_kv_u32(f, "split.count", 2); gguf_kv_u32(f, "split.no", 0); \
  gguf_kv_u32(f, "split.tensors.count", UINT32_MAX)) \
X(split_name, -EINVAL, "split.no 0 of split.count 2", "-00001-of-00002.gguf", \
  gguf_kv_u32(f, "split.count", 2); gguf_kv_u32(f, "split.no", 0); \
  gguf_kv_u32(f, "split.tensors.count", 2))

#define MAKE(id, code, field, value, ...) \
	static void make_##id(struct gguf_file *f) { __VA_ARGS__; }
MALFORMED(MAKE)

static const struct malformed {
	const char *id;
	int code;
	const char *field, *value;
	void (*make)(struct gguf_file *f);
} malformed[] = {
#define ENTRY(id, code, field, value, ...) { #id, code, field, value, make_##id },
	MALFORMED(ENTRY)
};

static void test_malformed(void)
{
	const size_t n = sizeof(malformed) / sizeof(malformed[0]);
	struct gguf_file f;

	memset(long_name, 'x', sizeof(long_name) - 1);
	for (size_t i = 0; i < n; i++) {
		const struct malformed *m = &malformed[i];

		base(&f);
		m->make(&f);
		refused(m->id, save(&f, "model.gguf"), m->code, m->field, m->value);
	}
	test_ok(n >= 60, "%zu malformed files", n);
}

static void test_not_files(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	struct linnet_error err;
	struct linnet_gguf *g;
	const char *path;
	int fd;

	write_file(in_dir("empty.gguf"), "", 0);
	refused("empty file", in_dir("empty.gguf"), -EINVAL, "empty", "0 bytes");
	refused("missing file", in_dir("missing.gguf"), -ENOENT, "open", "No such file");
	refused("directory", dir, -EISDIR, "regular file", "directory");
	refused("character device", "/dev/null", -EINVAL, "regular file", "character device");
	path = in_dir("fifo.gguf");
	if (mkfifo(path, 0600))
		test_skip("FIFO", "mkfifo is refused");
	else
		refused("FIFO", path, -EINVAL, "regular file", "FIFO");
	path = in_dir("socket");
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	snprintf(addr.sun_path, sizeof(addr.sun_path), "%.100s", path);
	if (fd < 0 || strlen(path) > 100 || bind(fd, (void *)&addr, sizeof(addr)))
		test_skip("socket", "it cannot be made");
	else
		refused("socket", path, -ENXIO, "open", "");
	if (fd >= 0)
		close(fd);
	path = in_dir("loop");
	if (symlink(path, path))
		test_skip("symbolic link to itself", "it cannot be made");
	else
		refused("symbolic link to itself", path, -ELOOP, "open", "");
	test_ok(linnet_gguf_open(&g, in_dir("missing.gguf"), NULL) == -ENOENT,
		"an error without a struct for it");
	test_ok(linnet_gguf_open(&g, "", &err) == -ENOENT && has(&err, "open"), "empty path");
}

/* The message keeps its end when the path is long, and its line when it has newlines. */
static void test_message(void)
{
	struct linnet_error err;
	struct linnet_gguf *g;
	struct gguf_file f;
	char path[8192];
	size_t n;

	n = (size_t)snprintf(path, sizeof(path), "%s/", dir);
	memset(path + n, 'p', 240);
	strcpy(path + n + 240, "\n.gguf");
	base(&f);
	f.t[1].type = 1000;
	{
		struct bytes b = gguf_bytes(&f);

		write_file(path, b.p, b.n);
		free(b.p);
	}
	test_ok(linnet_gguf_open(&g, path, &err) == -ENOTSUP && has(&err, "ppp?.gguf: tensor 1 ") &&
		has(&err, "type 1000 is unknown") && !strchr(err.message, '\n'),
		"long path with a newline: \"%.20s...\"", err.message);
	unlink(path);
}

/* A file with every kind of value. */
static void everything(struct gguf_file *f)
{
	static const double d = -1e300;
	static const float s = 1.5f;

	base(f);
	gguf_entry(f, "u8", 0); put_u8(&f->kv, 250);
	gguf_entry(f, "i8", 1); put_u8(&f->kv, (uint8_t)-3);
	gguf_entry(f, "u16", 2); put(&f->kv, "\xfe\xff", 2);
	gguf_entry(f, "i16", 3); put(&f->kv, "\xfe\xff", 2);
	gguf_kv_u32(f, "u32", 4000000000u);
	gguf_entry(f, "i32", 5); put_u32(&f->kv, (uint32_t)-5);
	gguf_entry(f, "f32", 6); put(&f->kv, &s, 4);
	gguf_entry(f, "false", 7); put_u8(&f->kv, 0);
	gguf_entry(f, "true", 7); put_u8(&f->kv, 1);
	gguf_kv_str(f, "str", "text");
	gguf_entry(f, "str.zero", 8); put_strn(&f->kv, "a\0b", 3);
	gguf_kv_str(f, "str.empty", "");
	gguf_entry(f, "u64", 10); put_u64(&f->kv, UINT64_MAX);
	gguf_entry(f, "i64", 11); put_u64(&f->kv, (uint64_t)INT64_MIN);
	gguf_entry(f, "f64", 12); put(&f->kv, &d, 8);
	gguf_entry(f, "f64.one", 12); put_u64(&f->kv, 0x3ff0000000000000u);
	gguf_entry(f, "inf", 6); put_u32(&f->kv, 0x7f800000);
	gguf_entry(f, "nan", 6); put_u32(&f->kv, 0x7fc00000);
	gguf_kv_array(f, "arr.str", 8, 3);
	put_str(&f->kv, "one"); put_str(&f->kv, ""); put_strn(&f->kv, "\0\xff", 2);
	gguf_kv_array(f, "arr.u8", 0, 3); put(&f->kv, "\1\2\3", 3);
	gguf_kv_array(f, "arr.i32", 5, 2); put_u32(&f->kv, (uint32_t)-7); put_u32(&f->kv, 7);
	gguf_kv_array(f, "arr.u32", 4, 2); put_u32(&f->kv, 1); put_u32(&f->kv, INT32_MAX);
	gguf_kv_array(f, "arr.u32.large", 4, 1); put_u32(&f->kv, 1u << 31);
	gguf_kv_array(f, "arr.f32", 6, 1); put(&f->kv, &s, 4);
	gguf_kv_array(f, "arr.f64", 12, 1); put(&f->kv, &d, 8);
	gguf_kv_array(f, "arr.bool", 7, 2); put(&f->kv, "\1", 2);
	gguf_kv_array(f, "arr.empty", 5, 0);
	gguf_kv_array(f, "arr.str.empty", 8, 0);
}

/* Every prefix of a file is refused; every flipped bit leaves a file or an error. */
static void test_damage(void)
{
	struct gguf_file f;
	struct bytes b;
	struct linnet_error err;
	struct linnet_gguf *g;
	const char *path = in_dir("model.gguf");
	size_t bad = 0, silent = 0, fine = 0;

	everything(&f);
	b = gguf_bytes(&f);
	for (size_t n = 0; n < b.n; n++) {
		write_file(path, b.p, n);
		if (!linnet_gguf_open(&g, path, &err)) {
			linnet_gguf_close(g);
			bad++;
		} else if (!has(&err, path) || err.code != -EINVAL) {
			printf("# %zu bytes: %s\n", n, err.message);
			bad++;
		}
	}
	test_ok(!bad, "cut after each of %zu bytes", b.n);
	for (size_t bit = 0; bit < 8 * (b.n - f.data_bytes); bit++) {
		b.p[bit / 8] ^= 1u << bit % 8;
		write_file(path, b.p, b.n);
		err.message[0] = 0;
		if (!linnet_gguf_open(&g, path, &err)) {
			linnet_gguf_close(g);
			fine++;
		} else if (!has(&err, path)) {
			silent++;
		}
		b.p[bit / 8] ^= 1u << bit % 8;
	}
	test_ok(!silent && fine, "each bit flipped: %zu flips left a valid file", fine);
	free(b.p);
}

/* ------------------------------------------------------------------ right files */

static void test_values(void)
{
	struct gguf_file f;
	struct linnet_gguf *g;
	const struct linnet_gguf_kv *kv;
	const struct linnet_str *str;

	everything(&f);
	g = opened("every kind of value", save(&f, "model.gguf"));
	if (!g)
		return;
	test_ok(linnet_gguf_kv_count(g) == f.kv_count && linnet_gguf_version(g) == 3 &&
		linnet_gguf_alignment(g) == 32 &&
		!strcmp(linnet_gguf_path(g), in_dir("model.gguf")),
		"counts, version, alignment, path");
	for (size_t i = 0; i < linnet_gguf_kv_count(g); i++) {
		kv = linnet_gguf_kv(g, i);
		if (linnet_gguf_find(g, kv->key.p) != kv || strlen(kv->key.p) != kv->key.n)
			test_ok(false, "find %s", kv->key.p);
	}
	test_ok(!linnet_gguf_kv(g, linnet_gguf_kv_count(g)) && !linnet_gguf_find(g, "none") &&
		!linnet_gguf_find(g, ""), "no entry past the end, none of another name");
#define KV(key) linnet_gguf_find(g, key)
	test_ok(KV("u8")->u == 250 && KV("i8")->i == -3 && KV("u16")->u == 65534 &&
		KV("i16")->i == -2 && KV("u32")->u == 4000000000u && KV("i32")->i == -5 &&
		KV("u64")->u == UINT64_MAX && KV("i64")->i == INT64_MIN, "integers are widened");
	test_ok(KV("f32")->f == 1.5 && KV("f64")->f == -1e300 && isinf(KV("inf")->f) &&
		isnan(KV("nan")->f), "floats are widened");
	test_ok(KV("true")->u == 1 && KV("false")->u == 0, "bool");
	kv = KV("str.zero");
	test_ok(kv->str.n == 3 && !memcmp(kv->str.p, "a\0b", 4), "string with a zero byte");
	test_ok(KV("str.empty")->str.n == 0 && !*KV("str.empty")->str.p, "empty string");
	kv = KV("arr.str");
	str = kv->arr.data;
	test_ok(kv->arr.type == LINNET_GGUF_STRING && kv->arr.n == 3 && str[0].n == 3 &&
		!strcmp(str[0].p, "one") && !str[1].n && str[2].n == 2 &&
		!memcmp(str[2].p, "\0\xff", 3), "array of strings");
	test_ok(KV("arr.u8")->arr.n == 3 && !memcmp(KV("arr.u8")->arr.data, "\1\2\3", 3),
		"array of u8");
	test_ok((uintptr_t)KV("arr.f64")->arr.data % 8 == 0 &&
		*(const double *)KV("arr.f64")->arr.data == -1e300, "array of f64 is aligned");
	test_ok(KV("arr.empty")->arr.n == 0 && KV("arr.str.empty")->arr.n == 0, "empty arrays");
	test_ok(!strcmp(linnet_gguf_type_name(KV("u16")->type), "u16") &&
		!strcmp(linnet_gguf_type_name(KV("arr.u8")->type), "arr") &&
		!linnet_gguf_type_name(13) && !linnet_gguf_type_name(-1) &&
		!strcmp(linnet_gguf_tensor_type_name(0), "F32") &&
		!strcmp(linnet_gguf_tensor_type_name(39), "MXFP4") &&
		!strcmp(linnet_gguf_tensor_type_name(42), "Q2_0") &&
		!linnet_gguf_tensor_type_name(43), "names of types");
	linnet_gguf_close(g);
	linnet_gguf_close(NULL);
}

static void test_getters(void)
{
	static const char *const integers[] = { "u8", "u16", "u32" };
	static const char *const not_u32[] = {
		"i8", "i16", "i32", "i64", "u64", "f32", "true", "str", "arr.u32",
	};
	static const char *const not_f32[] = { "f64", "inf", "nan", "true", "str", "arr.f32" };
	struct linnet_error err, before;
	struct linnet_gguf_array arr;
	struct gguf_file f;
	struct linnet_gguf *g;
	struct linnet_str str;
	const char *path;
	uint32_t u = 77;
	float v = 77;
	bool b = true;
	int ret;

	everything(&f);
	path = save(&f, "model.gguf");
	g = opened("getters", path);
	if (!g)
		return;
	for (size_t i = 0; i < 3; i++)
		test_ok(!linnet_gguf_get_u32(g, integers[i], &u, &err) &&
			u == linnet_gguf_find(g, integers[i])->u, "get_u32 of %s", integers[i]);
	u = 77;
	for (size_t i = 0; i < sizeof(not_u32) / sizeof(not_u32[0]); i++) {
		ret = linnet_gguf_get_u32(g, not_u32[i], &u, &err);
		test_ok(ret == -EINVAL && u == 77 && has(&err, path) && has(&err, not_u32[i]),
			"get_u32 of %s: %s", not_u32[i], err.message + strlen(path));
	}
	test_ok(!linnet_gguf_get_f32(g, "f32", &v, &err) && v == 1.5f, "get_f32 of f32");
	test_ok(!linnet_gguf_get_f32(g, "f64.one", &v, &err) && v == 1, "get_f32 of f64");
	test_ok(!linnet_gguf_get_f32(g, "u8", &v, &err) && v == 250, "get_f32 of u8");
	test_ok(!linnet_gguf_get_f32(g, "i64", &v, &err) && v == -0x1p63f, "get_f32 of i64");
	test_ok(!linnet_gguf_get_f32(g, "u64", &v, &err) && v == 0x1p64f, "get_f32 of u64");
	v = 77;
	for (size_t i = 0; i < sizeof(not_f32) / sizeof(not_f32[0]); i++) {
		ret = linnet_gguf_get_f32(g, not_f32[i], &v, &err);
		test_ok(ret == -EINVAL && v == 77 && has(&err, path) && has(&err, not_f32[i]),
			"get_f32 of %s: %s", not_f32[i], err.message + strlen(path));
	}
	test_ok(!linnet_gguf_get_bool(g, "false", &b, &err) && !b &&
		!linnet_gguf_get_bool(g, "true", &b, &err) && b, "get_bool");
	test_ok(linnet_gguf_get_bool(g, "u8", &b, &err) == -EINVAL && has(&err, "u8: type u8"),
		"get_bool of u8");
	test_ok(!linnet_gguf_get_str(g, "str", &str, &err) && str.n == 4 && !strcmp(str.p, "text"),
		"get_str");
	test_ok(linnet_gguf_get_str(g, "arr.str", &str, &err) == -EINVAL &&
		has(&err, "arr.str: type arr[str] where str is wanted"), "get_str of arr[str]");
	test_ok(!linnet_gguf_get_array(g, "arr.str", LINNET_GGUF_STRING, &arr, &err) &&
		arr.n == 3 && arr.type == LINNET_GGUF_STRING, "get_array of strings");
	test_ok(!linnet_gguf_get_array(g, "arr.f32", LINNET_GGUF_F32, &arr, &err) && arr.n == 1,
		"get_array of f32");
	test_ok(!linnet_gguf_get_array(g, "arr.i32", LINNET_GGUF_I32, &arr, &err) &&
		((const int32_t *)arr.data)[0] == -7, "get_array of i32");
	test_ok(!linnet_gguf_get_array(g, "arr.u32", LINNET_GGUF_I32, &arr, &err) &&
		arr.type == LINNET_GGUF_I32 && ((const int32_t *)arr.data)[1] == INT32_MAX,
		"get_array of u32 as i32");
	test_ok(linnet_gguf_get_array(g, "arr.u32.large", LINNET_GGUF_I32, &arr, &err) == -EINVAL &&
		has(&err, "arr.u32.large: element 0, 2147483648"), "get_array of large u32 as i32");
	test_ok(linnet_gguf_get_array(g, "arr.f64", LINNET_GGUF_F32, &arr, &err) == -EINVAL &&
		has(&err, "type arr[f64] where arr[f32]"), "get_array of f64 as f32");
	test_ok(linnet_gguf_get_array(g, "str", LINNET_GGUF_STRING, &arr, &err) == -EINVAL &&
		has(&err, "type str where arr[str]"), "get_array of a string");

	memset(&err, 0x5a, sizeof(err));
	before = err;
	u = 77;
	test_ok(linnet_gguf_get_u32(g, "none", &u, &err) == -ENOENT &&
		linnet_gguf_get_f32(g, "none", &v, &err) == -ENOENT &&
		linnet_gguf_get_bool(g, "none", &b, &err) == -ENOENT &&
		linnet_gguf_get_str(g, "none", &str, &err) == -ENOENT &&
		linnet_gguf_get_array(g, "none", LINNET_GGUF_I32, &arr, &err) == -ENOENT &&
		u == 77 && !memcmp(&err, &before, sizeof(err)), "absent keys leave all untouched");
	linnet_gguf_close(g);
}

static void test_tensors(void)
{
	const struct linnet_gguf_tensor *t;
	struct linnet_gguf *g;
	struct gguf_file f;
	uint64_t end;

	base(&f);
	g = opened("two tensors", save(&f, "model.gguf"));
	if (!g)
		return;
	end = linnet_gguf_file_bytes(g, 0);
	t = linnet_gguf_tensor(g, 0);
	test_ok(linnet_gguf_tensor_count(g) == 2 && !strcmp(t->name.p, "a.weight") &&
		t->type == 0 && t->n_dims == 2 && t->ne[0] == 4 && t->ne[1] == 2 && t->ne[2] == 1 &&
		t->ne[3] == 1 && t->bytes == 32 && t->file == 0 && t->offset == end - 66,
		"the first tensor");
	t = linnet_gguf_find_tensor(g, "b.weight");
	test_ok(t == linnet_gguf_tensor(g, 1) && t->type == 8 && t->bytes == 34 &&
		t->offset == end - 34, "the second, by name");
	test_ok(!linnet_gguf_tensor(g, 2) && !linnet_gguf_find_tensor(g, "c"), "no third");
	test_ok(linnet_gguf_file_count(g) == 1 && !linnet_gguf_file_path(g, 1) &&
		!strcmp(linnet_gguf_file_path(g, 0), in_dir("model.gguf")), "one file");
	linnet_gguf_close(g);

	base(&f);
	f.version = 2;
	g = opened("version 2", save(&f, "model.gguf"));
	if (g)
		test_ok(linnet_gguf_version(g) == 2, "version 2 is told");
	linnet_gguf_close(g);

	gguf_init(&f);
	g = opened("no entries and no tensors", save(&f, "model.gguf"));
	if (g)
		test_ok(!linnet_gguf_kv_count(g) && !linnet_gguf_tensor_count(g) &&
			!linnet_gguf_find(g, "a") && !linnet_gguf_find_tensor(g, "a"),
			"nothing is found in it");
	linnet_gguf_close(g);

	base(&f);
	f.t[0].offset = 64;
	f.t[1].offset = 0;
	f.data_bytes = 128;
	g = opened("tensors out of order", save(&f, "model.gguf"));
	linnet_gguf_close(g);

	base(&f);
	f.t[0].offset = 1024;
	f.t[1].offset = 4096;
	f.data_bytes = 8192;
	g = opened("gaps between tensors", save(&f, "model.gguf"));
	linnet_gguf_close(g);

	for (uint32_t align = 8; align <= 1u << 20; align *= align < 64 ? 2 : 128) {
		base(&f);
		align_to(&f, align);
		f.align = align;
		f.t[1].offset = align < 32 ? 32 : align;
		f.data_bytes = f.t[1].offset + 34;
		g = opened("alignment", save(&f, "model.gguf"));
		if (g)
			test_ok(linnet_gguf_alignment(g) == align &&
				linnet_gguf_tensor(g, 0)->offset % align == 0 &&
				linnet_gguf_tensor(g, 1)->offset + 34 ==
				linnet_gguf_file_bytes(g, 0), "alignment %u", align);
		linnet_gguf_close(g);
	}

	base(&f);
	f.t[1].name = "1234567890123456789012345678901234567890123456789012345678901234";
	long_name[65535] = 0;
	gguf_kv_u32(&f, long_name, 5);
	g = opened("the longest names", save(&f, "model.gguf"));
	if (g)
		test_ok(linnet_gguf_find_tensor(g, f.t[1].name) &&
			linnet_gguf_find(g, long_name)->u == 5, "they are found");
	long_name[65535] = 'x';
	linnet_gguf_close(g);
}

/* Data far past 4 GiB in a file of holes; and metadata that claims to be huge. */
static void test_sparse(void)
{
	const uint64_t far = 1ull << 36;
	const char *path;
	struct linnet_gguf *g;
	struct gguf_file f;

	base(&f);
	f.t[1].offset = far;
	path = save(&f, "sparse.gguf");
	if (truncate(path, (off_t)(far + 4096))) {
		test_skip("a file of 64 GiB", strerror(errno));
	} else {
		g = opened("a file of 64 GiB", path);
		if (g)
			test_ok(linnet_gguf_tensor(g, 1)->offset > far &&
				linnet_gguf_file_bytes(g, 0) == far + 4096,
				"offsets past 4 GiB");
		linnet_gguf_close(g);
	}
	base(&f);
	gguf_kv_array(&f, "k", 8, 1);
	put_u64(&f.kv, 300u << 20);
	path = save(&f, "sparse.gguf");
	if (truncate(path, (off_t)(1u << 30)))
		test_skip("metadata of 300 MiB", strerror(errno));
	else
		refused("metadata of 300 MiB", path, -EINVAL, "metadata 1 (k)", "268435456");
	base(&f);
	gguf_kv_array(&f, "k", 10, 1u << 27);
	path = save(&f, "sparse.gguf");
	if (!truncate(path, (off_t)far))
		refused("an array of 1 GiB", path, -EINVAL, "metadata 1 (k)", "134217728");
	unlink(path);
}

/* A vocabulary larger than any real one, across many windows. */
static void test_large(void)
{
	const size_t n = 300000;
	struct timespec t0, t1;
	struct linnet_gguf_array arr = { 0 }, scores = { 0 };
	struct linnet_error err;
	struct linnet_gguf *g;
	struct gguf_file f;
	const char *path;
	char text[64];
	size_t bad = 0;

	base(&f);
	gguf_kv_array(&f, "tokenizer.ggml.tokens", 8, n);
	for (size_t i = 0; i < n; i++) {
		snprintf(text, sizeof(text), "token-%zu%.*s", i, (int)(i % 23),
			 "abcdefghijklmnopqrstuvwxyz");
		put_str(&f.kv, text);
	}
	gguf_kv_array(&f, "tokenizer.ggml.scores", 6, n);
	for (size_t i = 0; i < n; i++) {
		float v = -(float)i;

		put(&f.kv, &v, 4);
	}
	path = save(&f, "model.gguf");
	clock_gettime(CLOCK_MONOTONIC, &t0);
	g = opened("a vocabulary of 300,000", path);
	clock_gettime(CLOCK_MONOTONIC, &t1);
	if (!g)
		return;
	printf("# %.1f ms, %zu bytes of memory for a file of %llu\n",
	       (double)(t1.tv_sec - t0.tv_sec) * 1e3 + (double)(t1.tv_nsec - t0.tv_nsec) / 1e6,
	       linnet_gguf_memory(g), (unsigned long long)linnet_gguf_file_bytes(g, 0));
	linnet_gguf_get_array(g, "tokenizer.ggml.tokens", LINNET_GGUF_STRING, &arr, &err);
	linnet_gguf_get_array(g, "tokenizer.ggml.scores", LINNET_GGUF_F32, &scores, &err);
	test_ok(arr.n == n && scores.n == n, "both arrays are there");
	for (size_t i = 0; i < arr.n; i++) {
		const struct linnet_str *s = (const struct linnet_str *)arr.data + i;

		snprintf(text, sizeof(text), "token-%zu%.*s", i, (int)(i % 23),
			 "abcdefghijklmnopqrstuvwxyz");
		bad += s->n != strlen(text) || memcmp(s->p, text, s->n + 1) ||
		       ((const float *)scores.data)[i] != -(float)i;
	}
	test_ok(!bad, "each token and score is right (%zu are not)", bad);
	linnet_gguf_close(g);

	for (int mode = READ_ONE_BYTE; mode <= READ_EINTR; mode++) {
		/* A byte at a time takes its time: a smaller file. */
		if (mode == READ_ONE_BYTE) {
			everything(&f);
			path = save(&f, "small.gguf");
		} else {
			path = in_dir("model.gguf");
		}
		read_mode = mode;
		read_calls = 0;
		g = opened(mode == READ_ONE_BYTE ? "reads of one byte" : "interrupted reads", path);
		read_mode = READ_PLAIN;
		test_ok(read_calls > 100, "%d reads were made", read_calls);
		linnet_gguf_close(g);
	}
	read_mode = READ_EIO;
	read_calls = 0;
	refused("a read fails", in_dir("model.gguf"), -EIO, "read at byte", "Input/output error");
	read_mode = READ_SHRINK;
	read_calls = 0;
	refused("the file shrinks meanwhile", in_dir("model.gguf"), -EIO, "shrank",
		"ends at 65536 now");
	read_mode = READ_PLAIN;
}

/* Many entries and tensors: the tables grow and stay fast. */
static void test_many(void)
{
	struct bytes b = { 0 };
	struct linnet_gguf *g;
	const char *path = in_dir("model.gguf");
	const size_t n_kv = 65536, n_tensors = 100000;
	char name[64];
	size_t bad = 0;

	put(&b, "GGUF", 4);
	put_u32(&b, 3);
	put_u64(&b, n_tensors);
	put_u64(&b, n_kv);
	for (size_t i = 0; i < n_kv; i++) {
		snprintf(name, sizeof(name), "key.%zu", i);
		put_str(&b, name);
		put_u32(&b, 4);
		put_u32(&b, (uint32_t)i);
	}
	/* from the last to the first, so that the check of overlaps must sort */
	for (size_t i = 0; i < n_tensors; i++) {
		snprintf(name, sizeof(name), "blk.%zu.weight", i);
		put_str(&b, name);
		put_u32(&b, 1);
		put_u64(&b, 8);
		put_u32(&b, 0);
		put_u64(&b, (n_tensors - 1 - i) * 32);
	}
	put_zero(&b, -b.n & 31);
	put_zero(&b, n_tensors * 32);
	if (write_file(path, b.p, b.n))
		test_ok(false, "write %s", path);
	free(b.p);
	g = opened("65,536 entries and 100,000 tensors", path);
	if (!g)
		return;
	for (size_t i = 0; i < n_kv; i++) {
		snprintf(name, sizeof(name), "key.%zu", i);
		bad += !linnet_gguf_find(g, name) || linnet_gguf_find(g, name)->u != i;
	}
	for (size_t i = 0; i < n_tensors; i++) {
		snprintf(name, sizeof(name), "blk.%zu.weight", i);
		bad += linnet_gguf_find_tensor(g, name) != linnet_gguf_tensor(g, i);
	}
	test_ok(!bad, "each is found (%zu are not)", bad);
	linnet_gguf_close(g);
}

/* ---------------------------------------------------------------- split models */

struct set {
	uint32_t count, tensors;	/* as written in every part */
	const char *arch1;		/* general.architecture of the second part */
	uint32_t no[3];			/* split.no as written */
	const char *name[3];		/* first tensor of each part */
	int missing;			/* part that is not written, or -1 */
};

static const struct set good_set = {
	3, 6, NULL, { 0, 1, 2 }, { "a0", "b0", "c0" }, -1,
};

/* Write the parts; each has two tensors. Returns the path of part i. */
static const char *write_set(const struct set *s, int i)
{
	char name[64], second[16];
	struct gguf_file f;

	for (int p = 0; p < 3; p++) {
		snprintf(name, sizeof(name), "split-%05d-of-00003.gguf", p + 1);
		if (p == s->missing) {
			unlink(in_dir(name));
			continue;
		}
		gguf_init(&f);
		if (!p)
			gguf_kv_str(&f, "general.architecture", "llama");
		if (p == 1 && s->arch1)
			gguf_kv_str(&f, "general.architecture", s->arch1);
		/* the types that split tools write */
		gguf_entry(&f, "split.no", 2);
		put(&f.kv, &s->no[p], 2);
		gguf_entry(&f, "split.count", 2);
		put(&f.kv, &s->count, 2);
		gguf_entry(&f, "split.tensors.count", 5);
		put_u32(&f.kv, s->tensors);
		snprintf(second, sizeof(second), "t%d", p);
		f.nt = 2;
		f.t[0] = (struct gguf_tensor_row) { s->name[p], 0, 1, { 8 }, 0, 0 };
		f.t[1] = (struct gguf_tensor_row) { second, 0, 1, { 8u << p }, 0, 32 };
		f.data_bytes = 32 + (32u << p);
		save(&f, name);
	}
	snprintf(name, sizeof(name), "split-%05d-of-00003.gguf", i + 1);
	return in_dir(name);
}

static void test_split(void)
{
	static const char *const order[] = { "a0", "t0", "b0", "t1", "c0", "t2" };
	const struct linnet_gguf_tensor *t;
	struct linnet_gguf *g;
	struct gguf_file f;
	struct set s;
	char path[8192], part[64];
	bool ok;

	for (int named = 0; named < 3; named++) {
		snprintf(path, sizeof(path), "%s", write_set(&good_set, named));
		g = opened("a model in three files", path);
		if (!g)
			return;
		ok = linnet_gguf_file_count(g) == 3 && linnet_gguf_tensor_count(g) == 6 &&
		     !strcmp(linnet_gguf_path(g), path) &&
		     linnet_gguf_find(g, "general.architecture");
		for (size_t i = 0; ok && i < 6; i++) {
			t = linnet_gguf_tensor(g, i);
			snprintf(part, sizeof(part), "split-%05zu-of-00003.gguf", i / 2 + 1);
			ok = !strcmp(t->name.p, order[i]) && t->file == i / 2 &&
			     linnet_gguf_find_tensor(g, order[i]) == t &&
			     !strcmp(linnet_gguf_file_path(g, t->file), in_dir(part));
			if (i % 2)
				ok = ok &&
				     t->offset + t->bytes == linnet_gguf_file_bytes(g, t->file);
		}
		test_ok(ok, "its parts and tensors in order, part %d named", named + 1);
		linnet_gguf_close(g);
	}

#define SET(what, named, code, field, value, ...) do {						\
	s = good_set;										\
	__VA_ARGS__;										\
	{											\
		struct linnet_error err = { 0 };						\
		int ret = linnet_gguf_open(&g, write_set(&s, named), &err);			\
		bool right = ret == (code) && has(&err, "split-0000") && has(&err, field) &&	\
			     has(&err, value);							\
		test_ok(right, "refused: %s", what);						\
		if (!right)									\
			printf("# %d %s\n", ret, err.message);					\
		if (!ret)									\
			linnet_gguf_close(g);							\
	}											\
} while (0)
	SET("the second part is missing", 0, -ENOENT, "-00002-of-00003.gguf", "No such file",
	    s.missing = 1);
	SET("the first part is missing", 2, -ENOENT, "-00001-of-00003.gguf", "No such file",
	    s.missing = 0);
	SET("parts in another order", 0, -EINVAL, "split.no", "value 2 in part 2",
	    s.no[1] = 2; s.no[2] = 1);
	SET("a part twice", 0, -EINVAL, "-00003-of-00003.gguf: split.no", "value 1 in part 3",
	    s.no[2] = 1);
	SET("no part is the first", 0, -EINVAL, "split.no 1 of split.count 3",
	    "-00002-of-00003.gguf", s.no[0] = 1);
	SET("the first part is another's", 1, -EINVAL, "-00001-of-00003.gguf", "split.no",
	    s.no[0] = 2);
	SET("the count is not the name's", 0, -EINVAL, "split.count 4", "-00001-of-00004.gguf",
	    s.count = 4);
	SET("more tensors than said", 0, -EINVAL, "split.tensors.count", "value 5", s.tensors = 5);
	SET("fewer tensors than said", 0, -EINVAL, "split.tensors.count", "value 7", s.tensors = 7);
	SET("a negative number of tensors", 0, -EINVAL, "split.tensors.count", "value -1",
	    s.tensors = UINT32_MAX);
	SET("a tensor in two parts", 0, -EINVAL, "-00003-of-00003.gguf: tensor 0 (a0)",
	    "duplicate name, also tensor 0 of file 0", s.name[2] = "a0");
	SET("parts of two architectures", 0, -EINVAL, "-00002-of-00003.gguf: general.architecture",
	    "value qwen2, but llama", s.arch1 = "qwen2");

	/* A later part of a model with other counts. */
	snprintf(path, sizeof(path), "%s", write_set(&good_set, 0));
	gguf_init(&f);
	gguf_kv_u32(&f, "split.no", 1);
	gguf_kv_u32(&f, "split.count", 2);
	gguf_kv_u32(&f, "split.tensors.count", 6);
	save(&f, "split-00002-of-00003.gguf");
	{
		struct linnet_error err = { 0 };
		int ret = linnet_gguf_open(&g, path, &err);

		test_ok(ret == -EINVAL && has(&err, "-00002-of-00003.gguf: split.count") &&
			has(&err, "value 2, but 3"), "refused: a part of a smaller set");
	}

	/* What a tool leaves that puts parts together again. */
	base(&f);
	gguf_kv_u32(&f, "split.count", 0);
	g = opened("split.count 0", save(&f, "model.gguf"));
	linnet_gguf_close(g);
	base(&f);
	gguf_kv_u32(&f, "split.count", 1);
	g = opened("split.count 1", save(&f, "model.gguf"));
	linnet_gguf_close(g);
}

static void test_real(void)
{
	static const struct {
		const char *name;
		size_t tensors, tokens;
	} real[] = {
		{ "stories260K/stories260K.gguf", 48, 512 },
		{ "tinystories-656k/TinyStories-656K-Q8_0.gguf", 20, 2048 },
		{ "tokenizer/ggml-vocab-llama-spm.gguf", 0, 32000 },
		{ "tokenizer/ggml-vocab-gpt-2.gguf", 0, 50257 },
	};
	struct linnet_gguf_array arr;
	struct linnet_error err;
	struct linnet_gguf *g;
	const char *path;

	for (size_t i = 0; i < sizeof(real) / sizeof(real[0]); i++) {
		path = test_data(real[i].name);
		if (!path) {
			test_skip(real[i].name, "the test data are not there");
			continue;
		}
		g = opened(real[i].name, path);
		if (!g)
			continue;
		arr.n = 0;
		linnet_gguf_get_array(g, "tokenizer.ggml.tokens", LINNET_GGUF_STRING, &arr, &err);
		test_ok(linnet_gguf_tensor_count(g) == real[i].tensors && arr.n == real[i].tokens,
			"%s: %zu tensors, %zu tokens", real[i].name, linnet_gguf_tensor_count(g),
			arr.n);
		linnet_gguf_close(g);
	}
}

/* Remove the folder and what the tests left in it. */
static void clean_up(void)
{
	char command[8192];

	snprintf(command, sizeof(command), "rm -rf '%s'", dir);
	if (system(command))
		printf("# %s is left behind\n", dir);
}

int main(void)
{
	const char *tmp = getenv("TMPDIR");

	snprintf(dir, sizeof(dir), "%s/linnet-gguf-XXXXXX", tmp && *tmp ? tmp : "/tmp");
	if (!mkdtemp(dir)) {
		test_ok(false, "mkdtemp %s: %s", dir, strerror(errno));
		return test_end();
	}
	test_malformed();
	test_not_files();
	test_message();
	test_damage();
	test_values();
	test_getters();
	test_tensors();
	test_sparse();
	test_large();
	test_many();
	test_split();
	test_real();
	clean_up();
	return test_end();
}
