#include "import/caffe_solver.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "import/caffe_test_fixture.h"
#include "tests/paths.h"

namespace maru {
namespace {

using namespace testing_files;
using Policy = CaffeSolver::Policy;

constexpr std::string_view kLeast = "base_lr: 0.5 lr_policy: 'fixed' max_iter: 10\n";

class Solver : public CaffeFixture {
 protected:
  void SetUp() override { folder.write("net.prototxt", kV2); }

  CaffeSolver parse(std::string_view text) {
    return parse_caffe_solver(text, folder.path("solver.prototxt"));
  }
  // A solver with the fields that it must have, and these.
  CaffeSolver with(std::string_view more) {
    return parse(std::string(kLeast) + "net: 'net.prototxt'\n" + std::string(more));
  }
  std::string bad(std::string_view text) {
    return folder.shorten(error_of([&] { parse(text); }));
  }
  std::string bad_with(std::string_view more) {
    return folder.shorten(error_of([&] { with(more); }));
  }
};

TEST_F(Solver, EveryField) {
  folder.write("a.caffemodel", "x");
  folder.write("b.caffemodel", "x");
  const CaffeSolver solver = parse(R"(net: "net.prototxt"
test_iter: 7 test_interval: 100 test_initialization: false test_compute_loss: true
base_lr: 0.01 lr_policy: "multistep" gamma: 0.1 stepvalue: 10 stepvalue: 20 max_iter: 50
iter_size: 4 momentum: 0.9 momentum2: 0.99 delta: 1e-6 rms_decay: 0.5 weight_decay: 0.0005
regularization_type: "L1" clip_gradients: 35 display: 20 average_loss: 5
snapshot: 30 snapshot_prefix: "out/net" snapshot_format: BINARYPROTO snapshot_after_train: false
snapshot_diff: true solver_mode: CPU device_id: 2 random_seed: 9 type: "Nesterov" debug_info: true
layer_wise_reduce: false power: -0.5 stepsize: 3
weights: "a.caffemodel,b.caffemodel" weights: "a.caffemodel"
)");
  EXPECT_EQ(folder.shorten(solver.train.file.string()), "net.prototxt");
  EXPECT_EQ(solver.train.phase, "TRAIN");
  EXPECT_FALSE(solver.train.inlined);
  ASSERT_EQ(solver.tests.size(), 1u);
  EXPECT_EQ(solver.tests[0].phase, "TEST");
  EXPECT_EQ(solver.tests[0].iterations, 7);
  EXPECT_EQ(solver.test_interval, 100);
  EXPECT_FALSE(solver.test_initialization);
  EXPECT_TRUE(solver.test_compute_loss);
  EXPECT_EQ(solver.base_rate, 0.01);
  EXPECT_EQ(solver.policy, Policy::multistep);
  EXPECT_EQ(solver.gamma, 0.1);
  EXPECT_EQ(solver.power, -0.5);
  EXPECT_EQ(solver.step, 3);
  EXPECT_EQ(solver.steps, (std::vector<std::int64_t>{10, 20}));
  EXPECT_EQ(solver.max_iter, 50);
  EXPECT_EQ(solver.iter_size, 4);
  EXPECT_EQ(solver.type, Update::Solver::nesterov);
  EXPECT_EQ(solver.momentum, 0.9);
  EXPECT_EQ(solver.momentum2, 0.99);
  EXPECT_EQ(solver.delta, 1e-6);
  EXPECT_EQ(solver.rms_decay, 0.5);
  EXPECT_EQ(solver.weight_decay, 0.0005);
  EXPECT_EQ(solver.regularization, CaffeSolver::Regularization::l1);
  EXPECT_EQ(solver.clip_gradients, 35);
  EXPECT_EQ(solver.display, 20);
  EXPECT_EQ(solver.average_loss, 5);
  EXPECT_EQ(solver.snapshot, 30);
  EXPECT_EQ(solver.snapshot_prefix, "out/net");
  EXPECT_FALSE(solver.snapshot_after_train);
  EXPECT_FALSE(solver.gpu);
  EXPECT_TRUE(solver.mode_given);
  EXPECT_EQ(solver.device, 2);
  EXPECT_EQ(solver.seed, 9u);
  ASSERT_EQ(solver.weights.size(), 3u);
  EXPECT_EQ(folder.shorten(solver.weights[1].string()), "b.caffemodel");
  Names said;
  for (const std::string& note : solver.notes) said.push_back(folder.shorten(note));
  EXPECT_EQ(said,
            (Names{"solver.prototxt:7: snapshot_diff has no effect: gradients are not written",
                   "solver.prototxt:7: debug_info has no effect: maru profile shows each layer",
                   "solver.prototxt:8: layer_wise_reduce has no effect: gradients are always exchanged "
                   "while others are computed"}));
}

TEST_F(Solver, WhatIsNotSaid) {
  const CaffeSolver solver = with("");
  EXPECT_EQ(solver.tests.size(), 0u);
  EXPECT_EQ(solver.type, Update::Solver::sgd);
  EXPECT_EQ(solver.momentum, 0);
  EXPECT_EQ(solver.momentum2, 0.999);
  EXPECT_EQ(solver.delta, 1e-8);
  EXPECT_EQ(solver.rms_decay, 0.99);
  EXPECT_EQ(solver.weight_decay, 0);
  EXPECT_EQ(solver.regularization, CaffeSolver::Regularization::l2);
  EXPECT_EQ(solver.clip_gradients, 0);
  EXPECT_EQ(solver.iter_size, 1);
  EXPECT_EQ(solver.average_loss, 1);
  EXPECT_EQ(solver.display, 0);
  EXPECT_EQ(solver.snapshot, 0);
  EXPECT_TRUE(solver.snapshot_after_train && solver.test_initialization && solver.gpu);
  EXPECT_FALSE(solver.mode_given);
  EXPECT_EQ(solver.seed, std::nullopt);
  EXPECT_EQ(folder.shorten(solver.snapshot_prefix), "solver");
  EXPECT_EQ(solver.notes, Names{});
  EXPECT_EQ(with("random_seed: -1").seed, std::nullopt);
  EXPECT_EQ(with("clip_gradients: -1").clip_gradients, 0);
  std::filesystem::create_directory(folder.path("out"));
  const std::string in_folder = fmt::format("snapshot_prefix: '{}'", folder.path("out").string());
  EXPECT_EQ(folder.shorten(with(in_folder).snapshot_prefix), "out/solver");
  for (const auto& [type, number, solver_type] : {std::tuple{"SGD", 0, Update::Solver::sgd},
                                                  {"NESTEROV", 1, Update::Solver::nesterov},
                                                  {"ADAGRAD", 2, Update::Solver::adagrad},
                                                  {"RMSPROP", 3, Update::Solver::rmsprop},
                                                  {"ADADELTA", 4, Update::Solver::adadelta},
                                                  {"ADAM", 5, Update::Solver::adam}}) {
    EXPECT_EQ(with(fmt::format("solver_type: {}", type)).type, solver_type);
    EXPECT_EQ(with(fmt::format("solver_type: {}", number)).type, solver_type);
  }
  for (const char* type : {"SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"})
    EXPECT_NO_THROW(with(fmt::format("type: '{}'", type)));
}

TEST_F(Solver, Networks) {
  const std::string inner = "{ name: 'in' " + net(relu("r", "data", "r")) + "}";
  folder.write("other.prototxt", net(relu("o", "data", "o")));
  const CaffeSolver solver =
      parse(std::string(kLeast) + "net_param " + inner + "test_net: 'other.prototxt' test_net_param " +
            inner +
            "test_iter: [1, 2, 3] test_interval: 5\n"
            "train_state { level: 2 stage: 'a' }\n"
            "test_state { stage: 'x' } test_state { } test_state { phase: TRAIN }");
  ASSERT_TRUE(solver.train.inlined);
  EXPECT_EQ(solver.train.level, 2);
  EXPECT_EQ(solver.train.stages, Names{"a"});
  ASSERT_EQ(solver.tests.size(), 3u);  // inline ones, files, and the one that is trained
  EXPECT_TRUE(solver.tests[0].inlined);
  EXPECT_EQ(solver.tests[0].stages, Names{"x"});
  EXPECT_EQ(folder.shorten(solver.tests[1].file.string()), "other.prototxt");
  EXPECT_EQ(solver.tests[1].phase, "TEST");
  EXPECT_TRUE(solver.tests[2].inlined);
  EXPECT_EQ(solver.tests[2].phase, "TRAIN");
  EXPECT_EQ(solver.tests[2].iterations, 3);
  EXPECT_EQ(import_caffe(solver.train, std::nullopt, {}).graph.name, "in");
  EXPECT_EQ(import_caffe(solver.tests[1], std::nullopt, {}).graph.nodes()[0].name, "o");

  // The state decides what of the network there is.
  folder.write("net.prototxt", net(relu("t", "data", "t", "include { phase: TRAIN stage: 'a' }") +
                                   relu("r", "data", "r")));
  const auto nodes = [&](std::string_view state) {
    return import_caffe(with(state).train, std::nullopt, {}).graph.nodes().size();
  };
  EXPECT_EQ(nodes(""), 1u);
  EXPECT_EQ(nodes("train_state { stage: 'a' }"), 2u);
  EXPECT_EQ(nodes("train_state { stage: 'a' phase: TEST }"), 1u);
}

TEST_F(Solver, NetworksThatAreNotThere) {
  EXPECT_EQ(bad(kLeast),
            "[solver.prototxt] expected a network to train, got none; try net: "
            "\"train_val.prototxt\"");
  EXPECT_EQ(bad_with("train_net: 'net.prototxt'"),
            "[solver.prototxt:3] expected one network to train: net, net_param, train_net or "
            "train_net_param, got net and train_net; try leaving out one of them");
  EXPECT_EQ(bad(std::string(kLeast) + "net: 'nte.prototxt'"),
            "[solver.prototxt:2] expected a network that is there, got \"nte.prototxt\", neither here "
            "nor beside the solver; try checking the path");
  EXPECT_EQ(bad(std::string(kLeast) + "net: 3"), "[solver.prototxt:2] expected a quoted net, got 3");
  EXPECT_EQ(bad(std::string(kLeast) + "net_param: 3"),
            "[solver.prototxt:2] expected a block net_param { }, got 3; try net: \"file\"");
  EXPECT_EQ(bad_with("test_iter: 1"),
            "[solver.prototxt:3] expected a test_interval of 1 or more for the networks to test, got "
            "none; try test_interval: 1000");
  EXPECT_EQ(bad_with("test_iter: -1 test_interval: 1"),
            "[solver.prototxt:3] expected a whole number of 0 or more for test_iter, got -1");
  EXPECT_EQ(
      bad(std::string(kLeast) + "train_net: 'net.prototxt' test_iter: 1 test_interval: 1"),
      "[solver.prototxt:2] expected a test_iter for each of 0 networks to test, got 1; try net: or "
      "test_net:");
  EXPECT_EQ(bad_with("test_net: 'net.prototxt'"),
            "[solver.prototxt:3] expected a test_iter for each of 1 networks to test, got 0; try "
            "test_iter: how many batches make a test");
  EXPECT_EQ(bad_with("test_iter: 1 test_interval: 1 test_state { } test_state { }"),
            "[solver.prototxt:3] expected a test_state for each of 1 networks to test, or none, got 2");
  EXPECT_EQ(bad_with("train_state { stages: 'x' }"),
            "[solver.prototxt:3] expected phase, level or stage in a state, got stages");
  EXPECT_EQ(bad_with("weights: 'none.caffemodel'"),
            "[solver.prototxt:3] expected a caffemodel that is there, got \"none.caffemodel\", neither "
            "here nor beside the solver; try checking the path");
  EXPECT_EQ(bad(kV2),
            "[solver.prototxt] expected a solver definition, got a network; try the "
            "solver.prototxt that names this network");
}

TEST_F(Solver, ValuesThatCannotBe) {
  EXPECT_EQ(
      bad_with("momentun: 0.9"),
      "[solver.prototxt:3] expected a field of a solver, got momentun; try momentum or momentum2");
  EXPECT_EQ(bad("net: 'net.prototxt' base_lr: 1 lr_policy: 'fixed'"),
            "[solver.prototxt] expected max_iter, got none; try max_iter: 10000");
  EXPECT_EQ(bad("net: 'net.prototxt' max_iter: 1 lr_policy: 'fixed'"),
            "[solver.prototxt] expected base_lr, got none; try base_lr: 0.01");
  EXPECT_EQ(bad("net: 'net.prototxt' max_iter: 1 base_lr: 1"),
            "[solver.prototxt] expected lr_policy, got none; try lr_policy: \"fixed\"");
  EXPECT_EQ(bad_with("iter_size: 0"),
            "[solver.prototxt:3] expected a whole number of 1 or more for iter_size, got 0");
  EXPECT_EQ(bad_with("iter_size: 1.5"),
            "[solver.prototxt:3] expected a whole number of 1 or more for iter_size, got 1.5");
  EXPECT_EQ(bad_with("display: 3000000000"),
            "[solver.prototxt:3] expected a whole number of 0 or more for display, got 3000000000");
  EXPECT_EQ(bad_with("max_iter: 5"), "[solver.prototxt:3] expected one max_iter, got 2");
  EXPECT_EQ(bad_with("weight_decay: nan"),
            "[solver.prototxt:3] expected a finite number for weight_decay, got nan");
  EXPECT_EQ(bad_with("weight_decay: -1"),
            "[solver.prototxt:3] expected weight_decay of 0 or more, got -1");
  EXPECT_EQ(bad_with("momentum: 1"),
            "[solver.prototxt:3] expected momentum of 0 or more, below 1, got 1");
  EXPECT_EQ(
      bad_with("type: 'AdaGrad'\nmomentum: 0.9"),
      "[solver.prototxt:4] expected no momentum for AdaGrad and RMSProp, which have none, got 0.9; "
      "try leaving it out");
  EXPECT_EQ(
      bad_with("type: 'Adm'"),
      "[solver.prototxt:3] expected a type among SGD, Nesterov, AdaGrad, RMSProp, AdaDelta, Adam, "
      "got \"Adm\"; try Adam");
  EXPECT_EQ(bad_with("type: 'Adam'\nsolver_type: ADAM"),
            "[solver.prototxt:4] expected either type or the older solver_type, got both; try leaving "
            "out solver_type");
  EXPECT_NE(bad_with("solver_type: ADAMS").find("for solver_type, got ADAMS; try ADAM"),
            std::string::npos);
  EXPECT_EQ(bad_with("regularization_type: 'L3'"),
            "[solver.prototxt:3] expected \"L1\" or \"L2\" for regularization_type, got \"L3\"");
  EXPECT_EQ(bad_with("clip_gradients: 0"),
            "[solver.prototxt:3] expected clip_gradients above 0, got 0, which leaves no gradient at "
            "all; try leaving it out");
  EXPECT_NE(bad_with("solver_mode: TPU").find("expected CPU or GPU for solver_mode, got TPU"),
            std::string::npos);
  EXPECT_EQ(bad_with("debug_info: 7"),
            "[solver.prototxt:3] expected true or false for debug_info, got 7");

  const auto rate = [&](std::string_view rest) {
    return bad("net: 'net.prototxt' max_iter: 1 base_lr: 1\n" + std::string(rest));
  };
  EXPECT_EQ(rate("lr_policy: 'steps'"),
            "[solver.prototxt:2] expected an lr_policy among fixed, step, exp, inv, multistep, poly, "
            "sigmoid, got \"steps\"; try step");
  EXPECT_EQ(rate("lr_policy: 'step' gamma: 1"),
            "[solver.prototxt:2] expected stepsize for this policy, got none; try stepsize: a number");
  EXPECT_EQ(rate("lr_policy: 'step' gamma: 1\nstepsize: 0"),
            "[solver.prototxt:3] expected a whole number of 1 or more for stepsize, got 0");
  EXPECT_EQ(
      rate("lr_policy: 'multistep' gamma: 1"),
      "[solver.prototxt:2] expected stepvalue for this policy, got none; try stepvalue: a number");
  EXPECT_EQ(rate("lr_policy: 'multistep' gamma: 1 stepvalue: 5\nstepvalue: 5"),
            "[solver.prototxt:3] expected a stepvalue beyond the one before it, 5, got 5");
  EXPECT_EQ(rate("lr_policy: 'exp'"),
            "[solver.prototxt:2] expected gamma for this policy, got none; try gamma: a number");
  EXPECT_EQ(rate("lr_policy: 'poly'"),
            "[solver.prototxt:2] expected power for this policy, got none; try power: a number");
}

// By Caffe's formulas with numbers that floats hold, or within one float of what is worked out by hand.
TEST_F(Solver, Rates) {
  CaffeSolver solver;
  solver.base_rate = 0.5;
  solver.max_iter = 100;
  const auto rate = [&](std::int64_t iteration) { return learning_rate(solver, iteration); };
  const auto near = [](double wanted) { return wanted * 1e-7; };
  EXPECT_EQ(rate(0), 0.5);
  EXPECT_EQ(rate(99), 0.5);
  solver.base_rate = 0.01;
  EXPECT_EQ(rate(1), static_cast<double>(0.01F));  // Caffe's are floats
  solver.base_rate = 0.5;

  solver.policy = Policy::step;
  solver.gamma = 0.5;
  solver.step = 10;
  EXPECT_EQ(rate(9), 0.5);
  EXPECT_EQ(rate(10), 0.25);
  EXPECT_EQ(rate(39), 0.0625);
  EXPECT_EQ(learning_step(solver, 39), 3);
  solver.gamma = 0.1;
  EXPECT_NEAR(rate(20), 0.005, near(0.005));

  solver.policy = Policy::multistep;
  solver.gamma = 0.5;
  solver.steps = {3, 5, 50};
  EXPECT_EQ(rate(2), 0.5);
  EXPECT_EQ(rate(3), 0.25);
  EXPECT_EQ(rate(5), 0.125);
  EXPECT_EQ(rate(49), 0.125);
  EXPECT_EQ(rate(1000), 0.0625);
  EXPECT_EQ(learning_step(solver, 2), 0);
  EXPECT_EQ(learning_step(solver, 1000), 3);

  solver.policy = Policy::exp;
  EXPECT_EQ(rate(0), 0.5);
  EXPECT_EQ(rate(4), 0.03125);
  EXPECT_EQ(learning_step(solver, 4), 0);

  solver.policy = Policy::inv;
  solver.power = 2;
  EXPECT_EQ(rate(0), 0.5);
  EXPECT_EQ(rate(2), 0.125);  // 0.5 (1 + 0.5 * 2)^-2
  solver.gamma = 0.0001;
  solver.power = 0.75;
  EXPECT_NEAR(rate(10000), 0.5 * 0.59460355750136, near(0.3));  // 2^-0.75

  solver.policy = Policy::poly;
  solver.power = 2;
  EXPECT_EQ(rate(0), 0.5);
  EXPECT_EQ(rate(50), 0.125);
  EXPECT_EQ(rate(100), 0);
  EXPECT_EQ(rate(101), 0);
  solver.power = 0.5;
  EXPECT_NEAR(rate(75), 0.25, near(0.25));

  solver.policy = Policy::sigmoid;
  solver.gamma = 0.25;
  solver.step = 40;
  EXPECT_EQ(rate(40), 0.25);
  EXPECT_NEAR(rate(44), 0.5 / (1 + std::exp(-1.0)), near(0.4));
  EXPECT_NEAR(rate(0), 0.5 / (1 + std::exp(10.0)), near(2.3e-5));
}

TEST_F(Solver, DamagedSolversAreAnErrorOrASolver) {
  const std::string text = std::string(kLeast) +
                           "net: 'net.prototxt' test_iter: 7 test_interval: 100 gamma: 0.1 stepsize: 5 "
                           "iter_size: 4 momentum: 0.9 type: 'Nesterov' solver_mode: CPU "
                           "train_state { level: 2 stage: 'a' } snapshot_prefix: 'x'";
  std::mt19937 random(3);
  int good = 0;
  for (std::size_t size = 0; size < text.size(); ++size) {
    try {
      parse(text.substr(0, size));
      ++good;
    } catch (const Error&) {
    }
  }
  for (int round = 0; round < 3000; ++round) {
    std::string damaged = text;
    for (std::uint32_t changes = 1 + random() % 3; changes > 0; --changes)
      damaged[random() % damaged.size()] = text[random() % text.size()];
    try {
      parse(damaged);
      ++good;
    } catch (const Error&) {
    }
  }
  EXPECT_GT(good, 20);
}

TEST_F(Solver, ThoseThatShip) {
  for (const char* name : {"googlenet", "googlenet_bn"}) {
    const auto place = std::filesystem::path(maru::testing::source_dir()) / "models" / name;
    const CaffeSolver solver = read_caffe_solver(place / "solver.prototxt");
    EXPECT_EQ(solver.train.file, place / "train_val.prototxt");
    ASSERT_EQ(solver.tests.size(), 1u);
    EXPECT_EQ(solver.tests[0].iterations * 50, 3550);  // all of val.txt
    EXPECT_EQ(solver.policy, Policy::poly);
    EXPECT_EQ(solver.snapshot_prefix, std::string("snapshots/") + name);
    EXPECT_EQ(solver.notes, Names{});
  }
}

}  // namespace
}  // namespace maru
