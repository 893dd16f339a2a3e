# SPDX-License-Identifier: MIT
# Userspace build of Linnet (GNU make). `make`, `make O=DIR`, `make install
# DESTDIR= PREFIX=`, `make tests`. Sources are found by folder; a kernel's
# instruction set is the suffix of its file name.

O ?= build
PREFIX ?= /usr/local
CC ?= cc
CFLAGS ?= -O2 -g
WERROR ?=
PKG_CONFIG ?= pkg-config

arch := $(shell $(CC) -dumpmachine | cut -d- -f1)

override CPPFLAGS += -D_GNU_SOURCE -Iruntime/include -Iuapi -I.
override CFLAGS += -std=gnu11 -fPIC -pthread -ffp-contract=off -fno-math-errno \
	-fvisibility=default -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
	-Wvla -Wno-unused-parameter -Wno-missing-field-initializers $(WERROR)

lib_pkgs := liburing libpcre2-8
tool_pkgs := jansson
lib_cflags := $(shell $(PKG_CONFIG) --cflags $(lib_pkgs))
lib_libs := $(shell $(PKG_CONFIG) --libs $(lib_pkgs)) -lm
tool_cflags := $(shell $(PKG_CONFIG) --cflags $(tool_pkgs))
tool_libs := $(shell $(PKG_CONFIG) --libs $(tool_pkgs))

lib_src := $(wildcard kernels/*.c kernels/ref/*.c runtime/*/*.c)
ifeq ($(arch),x86_64)
lib_src += $(wildcard kernels/x86/*.c)
endif
ifeq ($(arch),aarch64)
lib_src += $(wildcard kernels/arm/*.c)
endif
lib_obj := $(lib_src:%.c=$(O)/obj/%.o)
tool_src := $(wildcard tools/linnet/*.c)
tool_obj := $(tool_src:%.c=$(O)/obj/%.o)
test_src := $(wildcard tests/unit/*.c tests/kernels/*.c tests/model/*.c tests/fault/*.c)
test_bin := $(test_src:%.c=$(O)/%)
preload_so := $(patsubst %.c,$(O)/%.so,$(wildcard tests/fault/preload/*.c))
# One program of several files: kernels against their reference.
checkasm_obj := $(patsubst %.c,$(O)/obj/%.o,$(wildcard tests/kernels/checkasm/*.c))
test_bin += $(O)/tests/kernels/checkasm

# Kernels are where the time goes; the rest is compiled for size of the diff.
$(O)/obj/kernels/%.o: override CFLAGS += -O3
$(O)/obj/kernels/x86/%_avx2.o: override CFLAGS += -mavx2 -mfma -mf16c -mbmi2
$(O)/obj/kernels/x86/%_avx512.o: override CFLAGS += -march=icelake-server -mtune=znver3

.DEFAULT_GOAL := all
.PHONY: all tests clean install
.SECONDARY:
.DELETE_ON_ERROR:

all: $(O)/liblinnet.a $(O)/liblinnet.so $(if $(tool_src),$(O)/linnet)

$(O)/obj/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(CPPFLAGS) $(CFLAGS) $(lib_cflags) $(if $(filter tools/%,$<),$(tool_cflags)) -MMD -MP -c -o $@ $<

$(O)/liblinnet.a: $(lib_obj)
	@rm -f $@
	$(AR) rcs $@ $^

$(O)/liblinnet.so.0: $(lib_obj) runtime/liblinnet.map
	$(CC) -shared -Wl,-soname,liblinnet.so.0 -Wl,--version-script=runtime/liblinnet.map \
		-Wl,-z,defs $(LDFLAGS) $(CFLAGS) -o $@ $(lib_obj) $(lib_libs)

$(O)/liblinnet.so: $(O)/liblinnet.so.0
	ln -sf liblinnet.so.0 $@

# The tool uses the public API alone: it is linked against the shared library's
# symbols in the test-suite, and statically here so that it runs from anywhere.
$(O)/linnet: $(tool_obj) $(O)/liblinnet.a
	$(CC) $(LDFLAGS) $(CFLAGS) -o $@ $^ $(lib_libs) $(tool_libs)

tests: all $(test_bin) $(preload_so)

$(O)/tests/%: $(O)/obj/tests/%.o $(O)/liblinnet.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) $(CFLAGS) -o $@ $^ $(lib_libs)

$(O)/tests/kernels/checkasm: $(checkasm_obj) $(O)/liblinnet.a
	@mkdir -p $(@D)
	$(CC) $(LDFLAGS) $(CFLAGS) -o $@ $^ $(lib_libs)

# Objects for LD_PRELOAD stand in for parts of the C library: no sanitizer, and no
# built-in knowledge of what malloc() does.
$(O)/tests/fault/preload/%.so: tests/fault/preload/%.c tests/fault/preload/fail.h
	@mkdir -p $(@D)
	$(CC) -D_GNU_SOURCE -std=gnu11 -O2 -g -fPIC -fno-builtin -Wall -Wextra $(WERROR) -shared \
		-o $@ $< -ldl

clean:
	rm -rf $(O)

-include $(lib_obj:.o=.d) $(tool_obj:.o=.d) $(test_src:%.c=$(O)/obj/%.d) $(checkasm_obj:.o=.d)
