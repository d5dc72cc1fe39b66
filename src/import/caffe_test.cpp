#include "import/caffe.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "base/error.h"
#include "import/caffe_test_fixture.h"
#include "tests/shared.h"

namespace maru {
namespace {

using namespace testing_files;

class Caffe : public CaffeFixture {};

TEST_F(Caffe, AllThreeFormsGiveTheSameGraph) {
  const std::pair<std::string_view, Form> forms[] = {{kV0, Form::v0}, {kV1, Form::v1}, {kV2, Form::v2}};
  for (const auto& [text, form] : forms) {
    for (const Form weights : {Form::v0, Form::v1, Form::v2}) {
      const Imported imported = import(text, stored(), {}, weights);
      EXPECT_EQ(imported.graph.print(), kPrinted);
      EXPECT_EQ(notes(imported), Names{});
      EXPECT_EQ(imported.graph.nodes()[2].name, "ip");
      EXPECT_EQ(constant(imported.graph, "ip/bias").floats(), (std::vector<float>{200, 201, 202, 203}));
      EXPECT_EQ(constant(imported.graph, "conv1/weight").desc().shape, (Shape{2, 3, 3, 3}));
      EXPECT_EQ(constant(imported.graph, "conv1/weight").floats()[53], 53);
    }
  }
}

TEST_F(Caffe, UpgradeErrors) {
  EXPECT_EQ(error("layers { name: 'a' type: CONVOLUTON }"),
            "[net.prototxt:1] expected a layer type of Caffe's older form (V1), got CONVOLUTON; try "
            "CONVOLUTION "
            "or DECONVOLUTION");
  EXPECT_EQ(error("layers { name: 'a'\ntype: 'ReLU' }"),
            "[net.prototxt:2] expected an enumerator as the type in the older layers { }, got "
            "\"ReLU\"; try type: "
            "RELU, or layer { } with this type");
  EXPECT_EQ(error("layers { type: RELU param { lr_mult: 1 } }"),
            "[net.prototxt:1] expected a value for param in the older layers { }, got a block { }; try "
            "layer { "
            "type: \"Convolution\" ... } for the present form");
  EXPECT_EQ(
      error("layers { layer { name: 'a' type: 'conw' } }"),
      "[net.prototxt:1] expected a layer type of Caffe's first form (V0), got \"conw\"; try conv");
  EXPECT_EQ(error("layer { }\nlayers { }"),
            "[net.prototxt:2] expected either layer { } or the older layers { }, got both; try writing "
            "all of "
            "them as layer { }");
  EXPECT_EQ(error("layer: 3"), "[net.prototxt:1] expected a block layer { }, got 3");
  EXPECT_EQ(
      error("input: 'data' input_dim: 1 input_dim: 3 layer { }"),
      "[net.prototxt:1] expected 4 input_dim or one input_shape for each input (1), got 2 input_dim");
  EXPECT_EQ(
      error("input: 'data' layer { }"),
      "[net.prototxt:1] expected 4 input_dim or one input_shape for each input (1), got 0 input_dim");
  EXPECT_EQ(error("input_dim: 1 layer { }"),
            "[net.prototxt:1] expected input: \"name\" with input_dim, got none");
  EXPECT_EQ(error("input: 'a' input_dim: 1 input_shape { } layer { }"),
            "[net.prototxt:1] expected either input_dim or input_shape, got both");
  EXPECT_EQ(
      error("input: 'data' input_dim: [1, 3, 5, 5]\n"
            "layers { layer { name: 'p' type: 'padding' pad: 1 } bottom: 'data' top: 'p' }\n"
            "layers { layer { name: 'r' type: 'relu' } bottom: 'p' top: 'r' }"),
      "[net.prototxt:3] expected a padding layer before conv or pool only, got \"p\", padded, before a "
      "layer of type \"relu\"");
}

TEST_F(Caffe, InputsInEveryWriting) {
  const std::string tail = relu("r", "a", "r") + relu("s", "b", "s");
  const std::string expected =
      "graph net\n  input a: f32 2x3\n  input b: f32 4\n  r = unary(a): 2x3\n  s = unary(b): 4\n  "
      "output r, s\n";
  for (const std::string& text :
       {"input: 'a' input: 'b' input_shape { dim: 2 dim: 3 } input_shape { dim: 4 }" + tail,
        "layer { type: 'Input' name: 'x' top: 'a' top: 'b' input_param { shape { dim: 2 dim: 3 } shape "
        "{ dim: 4 } } }" +
            tail,
        "layer { type: 'Input' top: 'a' input_param { shape { dim: [2, 3] } } }"
        "layer { type: 'Input' top: 'b' input_param { shape { dim: 0x4 } } }" +
            tail}) {
    EXPECT_EQ(look(text).graph.print(), expected);
  }
  EXPECT_EQ(look("layer { type: 'Input' top: 'a' top: 'b' input_param { shape { dim: 2 } } }" + tail)
                .graph.inputs.size(),
            2u);
  EXPECT_EQ(
      error("layer { name: 'x' type: 'Input' top: 'a' }"),
      "[net.prototxt:1 layer 'x'] expected one shape for all tops, or one for each, got 1 tops and 0 "
      "shapes; try input_param { shape { dim: 1 dim: 3 dim: 224 dim: 224 } }");
  const auto with_dim = [](std::string_view dims) {
    return fmt::format("layer {{ name: 'x' type: 'Input' top: 'a' input_param {{ shape {{ {} }} }} }}",
                       dims);
  };
  EXPECT_EQ(error(with_dim("dim: 0")),
            "[net.prototxt:1 layer 'x'] expected an extent of 1 or more, got 0");
  EXPECT_EQ(error(with_dim("dim: '3'")),
            "[net.prototxt:1 layer 'x'] expected an extent of 1 or more, got \"3\"");
  EXPECT_EQ(error(with_dim("")),
            "[net.prototxt:1 layer 'x'] expected a shape with dim, got a block { }");
  EXPECT_EQ(error(with_dim("dim: [9000000000, 9000000000]")),
            "[net.prototxt:1 layer 'x': shape] expected at most 2^48 elements, got more; try checking "
            "the sizes in the model");
  EXPECT_EQ(error(with_dim("dim: [1, 1, 1, 1, 1, 1, 1, 1, 1]")),
            "[net.prototxt:1 layer 'x': shape] expected at most 8 axes, got 9");
}

TEST_F(Caffe, BatchReplacesTheFirstExtent) {
  CaffeOptions options;
  options.batch = 7;
  const Imported imported = import(kV2, stored(), options);
  EXPECT_EQ(imported.graph.value(imported.graph.inputs[0]).desc.shape, (Shape{7, 3, 5, 5}));
  EXPECT_EQ(imported.graph.value(imported.graph.outputs[0]).desc.shape, (Shape{7, 4}));
  options.batch = 0;
  EXPECT_EQ(error(kV2, options), "[batch] expected a batch of 1 or more, got 0");
}

TEST_F(Caffe, InPlaceLayersMakeVersions) {
  // 'before' reads data as it came, 'after' what relu1 made of it, as in Caffe, which runs in this
  // order.
  const Imported imported = look(
      net(relu("before", "data", "b") + relu("relu1", "data", "data") + relu("after", "data", "a")));
  const Graph& graph = imported.graph;
  EXPECT_EQ(graph.node(NodeId(0)).src[0], graph.inputs[0]);
  EXPECT_EQ(graph.node(NodeId(2)).src[0], graph.node(NodeId(1)).dst[0]);
  EXPECT_EQ(names(graph, graph.outputs), (Names{"b", "a"}));
  EXPECT_EQ(graph.value(graph.node(NodeId(1)).dst[0]).name, "data");
}

TEST_F(Caffe, SilenceConsumesAndUnusedInputsAreNoted) {
  const Imported imported =
      look("input: 'data' input: 'label' input_shape { dim: 2 } input_shape { dim: 2 }" +
           relu("a", "data", "a") + relu("b", "data", "b") +
           "layer { name: 's' type: 'Silence' bottom: 'b' }");
  EXPECT_EQ(names(imported.graph, imported.graph.outputs), Names{"a"});
  EXPECT_EQ(notes(imported), Names{"net.prototxt: no layer reads the input \"label\""});
}

TEST_F(Caffe, RulesOfInclusion) {
  const auto outputs = [&](std::string_view rules, CaffeOptions options = {}) {
    const Imported imported =
        look(net(relu("x", "data", "x", rules) + relu("y", "data", "y")), options);
    return names(imported.graph, imported.graph.outputs);
  };
  const Names both{"x", "y"}, one{"y"};
  CaffeOptions train;
  train.phase = "TRAIN";
  CaffeOptions deep;
  deep.level = 3;
  deep.stages = {"deploy", "gpu"};
  EXPECT_EQ(outputs(""), both);
  EXPECT_EQ(outputs("include { phase: TRAIN }"), one);
  EXPECT_EQ(outputs("include { phase: TRAIN }", train), both);
  EXPECT_EQ(outputs("include { phase: 1 }"), both);
  EXPECT_EQ(outputs("exclude { phase: TEST }"), one);
  EXPECT_EQ(outputs("exclude { phase: TEST }", train), both);
  EXPECT_EQ(outputs("include { phase: TRAIN } include { stage: 'deploy' }", deep), both);
  EXPECT_EQ(outputs("include { min_level: 1 }"), one);
  EXPECT_EQ(outputs("include { min_level: 1 max_level: 3 }", deep), both);
  EXPECT_EQ(outputs("include { max_level: 2 }", deep), one);
  EXPECT_EQ(outputs("include { stage: 'deploy' stage: 'cpu' }", deep), one);
  EXPECT_EQ(outputs("include { stage: 'deploy' not_stage: 'gpu' }", deep), one);
  EXPECT_EQ(outputs("include { not_stage: 'gpu' }"), both);
  EXPECT_EQ(outputs("exclude { stage: 'gpu' }", deep), one);
  EXPECT_EQ(outputs("include { }"), both);
  EXPECT_EQ(
      names(look("state { stage: 'own' }" + net(relu("x", "data", "x", "include { stage: 'own' }")))
                .graph,
            {}),
      Names{});
  const auto rule_error = [&](std::string_view rules) {
    return error(net(relu("x", "data", "x", rules)));
  };
  EXPECT_EQ(rule_error("include { } exclude { }"),
            "[net.prototxt:2 layer 'x'] expected either include or exclude rules, got both");
  EXPECT_EQ(rule_error("include { phase: VAL }"),
            "[net.prototxt:2] expected TRAIN or TEST for the phase, got VAL");
  EXPECT_EQ(rule_error("include { min_level: x }"),
            "[net.prototxt:2 layer 'x'] expected an integer for min_level, got x");
  EXPECT_EQ(rule_error("include { phaze: TEST }"),
            "[net.prototxt:2 layer 'x'] expected phase, min_level, max_level, stage or not_stage in a "
            "rule, got phaze");
  EXPECT_EQ(rule_error("include: TEST"),
            "[net.prototxt:2 layer 'x'] expected a block include { }, got TEST");
  train.phase = "test";
  EXPECT_EQ(error(kV2, train), "[phase] expected TEST or TRAIN, got test");
  EXPECT_EQ(error(relu("x", "a", "x", "include { phase: TRAIN }")),
            "[net.prototxt] expected layers in phase TEST, got none: rules leave out all of them");
}

TEST_F(Caffe, BottomsThatNobodyMade) {
  EXPECT_EQ(error(net(relu("conv1_relu", "data", "conv1") + relu("b", "conv_1", "b"))),
            "[net.prototxt:3 layer 'b'] expected bottom \"conv_1\" from a layer before this one, got "
            "no layer that "
            "makes it; try conv1");
  EXPECT_EQ(error(net(relu("a", "late", "a") + relu("b", "data", "late"))),
            "[net.prototxt:2 layer 'a'] expected bottom \"late\" from a layer before this one, got it "
            "only from "
            "layer 'b' on line 3; try moving that layer up");
  EXPECT_EQ(error(net(relu("a", "y", "x") + relu("m", "x", "z") + relu("b", "z", "y"))),
            "[net.prototxt:2 layer 'a'] expected bottom \"y\" from a layer before this one, got a "
            "cycle: layer 'b' "
            "on line 4 makes it and needs a top of this layer; try checking the bottoms of both");
  EXPECT_EQ(error(net(relu("a", "data", "x", "include { phase: TRAIN }") + relu("b", "x", "y"))),
            "[net.prototxt:3 layer 'b'] expected bottom \"x\" from a layer before this one, got it "
            "from layer 'a' on "
            "line 2, which the rules leave out in phase TEST; try the deploy definition, or another "
            "phase, level "
            "or stage");
  EXPECT_EQ(error(net(relu("a", "self", "self"))),
            "[net.prototxt:2 layer 'a'] expected bottom \"self\" from a layer before this one, got no "
            "layer that "
            "makes it; try data");
}

TEST_F(Caffe, TopsThatAreMadeTwice) {
  EXPECT_EQ(error(net(relu("a", "data", "x") + relu("b", "data", "x"))),
            "[net.prototxt:3 layer 'b'] expected a top that no layer makes yet, got \"x\", already "
            "made by layer 'a' "
            "on line 2; try another name, or that blob as the bottom for a layer that works in place");
  EXPECT_EQ(error(net("layer { name: 's' type: 'Split' bottom: 'data' top: 'p' top: 'p' }")),
            "[net.prototxt:2 layer 's'] expected a top that no layer makes yet, got \"p\", already "
            "made by layer 's' "
            "on line 2; try another name, or that blob as the bottom for a layer that works in place");
  EXPECT_EQ(error(std::string(kInput).append(kInput)),
            "[net.prototxt:2 layer 'data'] expected a top that no layer makes yet, got \"data\", "
            "already made by "
            "layer 'data' on line 1; try another name, or that blob as the bottom for a layer that "
            "works in place");
}

TEST_F(Caffe, LayersOfOneName) {
  const Imported imported = look(net(relu("r", "data", "a") + relu("r", "a", "b")));
  EXPECT_EQ(imported.graph.nodes()[0].name, "r");
  EXPECT_EQ(imported.graph.nodes()[1].name, "r@3");
  EXPECT_EQ(notes(imported), Names{"net.prototxt:3: another layer 'r'; it is shown as 'r@3'"});
  EXPECT_EQ(
      error(net("layer { name: 'r' type: 'PReLU' bottom: 'data' top: 'a' }\n" + relu("r", "a", "b"))),
      "[net.prototxt:2 layer 'r'] expected a name of its own for a layer with weights, got another "
      "layer 'r' "
      "on line 3; try renaming one of them");
}

TEST_F(Caffe, Arity) {
  EXPECT_EQ(error(net("layer { name: 'r' type: 'ReLU' top: 'a' }")),
            "[net.prototxt:2 layer 'r'] expected 1 inputs, got 0; try checking the layer's bottoms");
  EXPECT_EQ(error(net("layer { name: 'r' type: 'ReLU' bottom: 'data' bottom: 'data' top: 'a' }")),
            "[net.prototxt:2 layer 'r'] expected 1 inputs, got 2; try checking the layer's bottoms");
  EXPECT_EQ(error(net("layer { name: 'r' type: 'ReLU' bottom: 'data' top: 'a' top: 'b' }")),
            "[net.prototxt:2 layer 'r'] expected 1 outputs, got 2; try as many tops as the layer has "
            "outputs");
}

TEST_F(Caffe, Attributes) {
  const auto conv = [](std::string_view attributes) {
    return net(fmt::format("layer {{ name: 'c' type: 'Convolution' bottom: 'data' top: 'c'\n{} }}",
                           attributes));
  };
  const auto node = [&](std::string_view attributes) {
    return look(conv(fmt::format("convolution_param {{ {} }}", attributes)))
        .graph.nodes()[0]
        .op.attributes();
  };
  EXPECT_EQ(node("num_output: 3 kernel_size: 3 bias_term: false"), "outputs=3 kernel=3x3 bias=no");
  EXPECT_EQ(node("num_output: 4 kernel_size: [1, 5] group: 0x2 bias_term: 0"),
            "outputs=4 kernel=1x5 group=2 bias=no");
  const auto bad = [&](std::string_view attributes) {
    return error(conv(fmt::format("convolution_param {{ {} }}", attributes)));
  };
  EXPECT_EQ(bad("num_output: '3'"),
            "[net.prototxt:3 layer 'c'] expected an integer for num_output, got \"3\"");
  EXPECT_EQ(bad("num_output: 3.5"),
            "[net.prototxt:3 layer 'c'] expected an integer for num_output, got 3.5");
  EXPECT_EQ(bad("num_output: 3 num_output: 4"),
            "[net.prototxt:3 layer 'c'] expected one value for num_output, got 2");
  EXPECT_EQ(bad("num_output: 5000000000"),
            "[net.prototxt:3 layer 'c'] expected an integer of 32 bits for num_output, got 5000000000");
  EXPECT_EQ(bad("num_output: 99999999999999999999"),
            "[net.prototxt:3 layer 'c'] expected an integer for num_output, got 99999999999999999999");
  EXPECT_EQ(bad("num_output: { }"),
            "[net.prototxt:3 layer 'c'] expected an integer for num_output, got a block { }");
  EXPECT_EQ(bad("num_output: 1 kernel_size: 1 bias_term: maybe"),
            "[net.prototxt:3 layer 'c'] expected true or false for bias_term, got maybe");
  EXPECT_EQ(bad("num_output: 1 kernel_size: 9"),
            "[net.prototxt:2 layer 'c'] expected a kernel within the padded input of 6, got a "
            "kernel that "
            "spans 9; try a larger input");
  EXPECT_EQ(error(conv("convolution_param { } convolution_param { }")),
            "[net.prototxt:3 layer 'c'] expected one convolution_param, got 2");
  EXPECT_EQ(error(conv("convolution_param: 3")),
            "[net.prototxt:3 layer 'c'] expected a block convolution_param { }, got 3");
  EXPECT_EQ(error(net(relu("r", "data", "r", "relu_param { negative_slope: MAX }"))),
            "[net.prototxt:2 layer 'r'] expected a number for negative_slope, got MAX");
  EXPECT_EQ(error(net(relu("r", "data", "r", "relu_param { negative_slope: nan }"))),
            "[net.prototxt:2 layer 'r'] expected a finite number for negative_slope, got nan");
  EXPECT_EQ(look(net(relu("r", "data", "r", "relu_param { negative_slope: .1f }")))
                .graph.nodes()[0]
                .op.attributes(),
            "alpha=0.1");
}

TEST_F(Caffe, EnumeratorsByNameOrNumberAndNestedFields) {
  const auto node = [&](std::string_view type, std::string_view block) {
    return look(net(fmt::format("layer {{ name: 'x' type: '{}' bottom: 'data' top: 'x' {} }}", type,
                                block)))
        .graph.print();
  };
  EXPECT_EQ(node("Pooling", "pooling_param { pool: AVE kernel_size: 2 }"),
            node("Pooling", "pooling_param { pool: 1 kernel_size: 2 }"));
  EXPECT_NE(node("Reshape", "reshape_param { shape { dim: 2 dim: [-1] } }").find("x: 2x144"), 0u);
  EXPECT_NE(
      error(net(
          "layer { name: 'x' type: 'Reshape' bottom: 'data' top: 'x' reshape_param { shape: 3 } }")),
      "no error");
}

TEST_F(Caffe, FieldsThatNobodyReadsAreNoted) {
  const Imported imported = look(
      "engine_hint: 1\nforce_backward: true\n" +
      net(relu(
              "a", "data", "a",
              "loss_weight: 1 propagate_down: true param { lr_mult: 0 } relu_param { engine: CUDNN }") +
          relu("b", "a", "b", "relu_param { leak: 0.1\n }") +
          relu("c", "b", "c", "dropout_param { x: 1 } weird: 3") +
          "layer { name: 'd' type: 'Dropout' bottom: 'c' top: 'c' dropout_param { dropout_ratio: 0.5 } "
          "}\n"
          "layer { name: 'e' type: 'Sigmoid' bottom: 'c' top: 'e' sigmoid_param { engine: CAFFE } odd "
          "{ a: 1 } }\n"));
  EXPECT_EQ(notes(imported), (Names{
                                 "net.prototxt:1: the network's field engine_hint is not used",
                                 "net.prototxt:5: layer 'b' (ReLU): relu_param.leak is not used",
                                 "net.prototxt:7: layer 'c' (ReLU): dropout_param is not used",
                                 "net.prototxt:7: layer 'c' (ReLU): weird is not used",
                                 "net.prototxt:9: layer 'e' (Sigmoid): odd is not used",
                             }));
}

TEST_F(Caffe, FieldsThatAreAlmostRightAreErrors) {
  EXPECT_EQ(error(net(relu("b", "data", "b", "relu_param {\n negative_slopes: 0.1 }"))),
            "[net.prototxt:3 layer 'b'] expected a field of the layer, got relu_param.negative_slopes; "
            "try negative_slope");
  EXPECT_EQ(error(net(relu("b", "data", "b", "relu_parm { negative_slope: 0.1 }"))),
            "[net.prototxt:2 layer 'b'] expected a field of the layer, got relu_parm; try relu_param");
  EXPECT_EQ(error(net(relu("b", "data", "b", "loss_wieght: 1"))),
            "[net.prototxt:2 layer 'b'] expected a field of the layer, got loss_wieght; try "
            "loss_weight");
  EXPECT_NE(error(net("layer { name: 'c' type: 'Convolution' bottom: 'data' top: 'c' "
                      "convolution_param { num_output: 1 kernel_size: 1 weigth_filler { } } }"))
                .find("got convolution_param.weigth_filler; try weight_filler"),
            std::string::npos);
}

TEST_F(Caffe, UnsupportedTypes) {
  const auto type_error = [&](std::string_view type) {
    return error(net(fmt::format("layer {{ name: 'x'\n type: '{}' bottom: 'data' top: 'x' }}", type)));
  };
  const std::string typo = type_error("Convolutoin");
  EXPECT_TRUE(typo.starts_with("[net.prototxt:3 layer 'x'] expected one of the ")) << typo;
  EXPECT_NE(typo.find(" layer types that maru runs, got \"Convolutoin\"; try Convolution"),
            std::string::npos)
      << typo;
  EXPECT_EQ(type_error("ImageData"),
            "[net.prototxt:3 layer 'x'] expected a network that begins with Input, got a layer of type "
            "\"ImageData\"; "
            "try the deploy definition, or an Input layer in its place");
  EXPECT_EQ(type_error("HingeLoss"),
            "[net.prototxt:3 layer 'x'] expected a layer type that maru runs, got \"HingeLoss\", which "
            "Caffe has and maru has not; try docs/layers.md, which lists those that there are");
  EXPECT_NE(error(net("layer { name: 'x' bottom: 'data' }")).find("got none"), std::string::npos);
  EXPECT_EQ(error(net("layer { name: 'x' type: CONVOLUTION }")),
            "[net.prototxt:2] expected a quoted type, got CONVOLUTION; try type: \"CONVOLUTION\"");
  EXPECT_EQ(error(net("layer { name: 'x' name: 'y' }")),
            "[net.prototxt:2] expected one name, got 2; try checking that the braces pair");
}

TEST_F(Caffe, FilesThatAreNoNetworks) {
  EXPECT_EQ(error("base_lr: 0.1 net: 'train_val.prototxt'"),
            "[net.prototxt] expected a network with layers, got a solver definition; try the network "
            "file that it names");
  EXPECT_EQ(error("name: 'empty'"),
            "[net.prototxt] expected a network with layers, got none; try the deploy definition of the "
            "network");
  EXPECT_EQ(error(kInput), "[net.prototxt] expected layers that compute something, got none");
  EXPECT_EQ(error(net(relu("a", "data", "a") + "layer { name: 's' type: 'Silence' bottom: 'a' }")),
            "[net.prototxt] expected a top that no layer reads, as the output, got none");
  EXPECT_EQ(error(""),
            "[net.prototxt] expected a file with content, got 0 bytes; try fetching the file again");
  EXPECT_EQ(
      folder.shorten(error_of([&] { import_caffe(folder.path("none.prototxt"), std::nullopt); })),
      "[none.prototxt] expected a readable file, got No such file or directory; try checking the path");
  for (const Form form : {Form::v0, Form::v1, Form::v2}) {
    const std::string text = error(write_caffemodel(stored(), form));
    EXPECT_NE(text.find("expected a network definition in protobuf text, got a binary file"),
              std::string::npos)
        << text;
  }
  const auto path = folder.write("net.prototxt", kV2);
  EXPECT_EQ(folder.shorten(error_of([&] { import_caffe(path, path); })),
            "[net.prototxt] expected a .caffemodel, got a text file; try the .prototxt as the network "
            "and the "
            ".caffemodel in this place");
}

TEST_F(Caffe, DamagedDefinitionsAreAnErrorOrAGraph) {
  const auto weights = folder.write("net.caffemodel", write_caffemodel(stored(), Form::v2));
  const auto path = folder.path("net.prototxt");
  std::mt19937 random(3);
  int good = 0;
  for (const std::string_view source : {kV0, kV1, kV2}) {
    for (int round = 0; round < 1500; ++round) {
      std::string text(source);
      for (std::uint32_t changes = 1 + random() % 3; changes > 0; --changes) {
        const std::size_t at = random() % text.size();
        if (random() % 3 == 0) {
          text.erase(at, 1 + random() % 8);
        } else {
          text[at] = text[random() % text.size()];
        }
      }
      folder.write("net.prototxt", text);
      try {
        import_caffe(path, weights);
        ++good;
      } catch (const Error&) {
      }
    }
  }
  EXPECT_GT(good, 100);
}

struct RealModel {
  const char* folder;
  const char* weights;
  std::size_t nodes;
  std::int64_t parameters;
  Shape input;
};

TEST_F(Caffe, RealModels) {
  const RealModel models[] = {
      {"bvlc_googlenet", "bvlc_googlenet.caffemodel", 142, 6998552, {10, 3, 224, 224}},
      {"squeezenet_v1.1", "squeezenet_v1.1.caffemodel", 66, 1235496, {10, 3, 227, 227}},
  };
  for (const RealModel& model : models) {
    const auto place = testing::shared_folder() / "models" / model.folder;
    if (!std::filesystem::exists(place / model.weights)) {
      GTEST_SKIP() << "no model at " << place << "; set MARU_SHARED to the shared folder";
    }
    const Imported imported = import_caffe(place / "deploy.prototxt", place / model.weights);
    const Graph& graph = imported.graph;
    EXPECT_EQ(imported.notes, Names{});
    EXPECT_EQ(graph.nodes().size(), model.nodes);
    EXPECT_EQ(graph.value(graph.inputs.at(0)).desc.shape, model.input);
    EXPECT_EQ(names(graph, graph.outputs), Names{"prob"});
    EXPECT_EQ(graph.value(graph.outputs[0]).desc.shape.count(), 10000);
    std::int64_t parameters = 0;
    for (const Value& value : graph.values()) {
      if (value.constant) parameters += value.desc.count();
    }
    EXPECT_EQ(parameters, model.parameters);
    CaffeOptions options;
    options.batch = 1;
    const Graph one = import_caffe(place / "deploy.prototxt", place / model.weights, options).graph;
    EXPECT_EQ(one.value(one.outputs[0]).desc.shape.count(), 1000);
  }
}

}  // namespace
}  // namespace maru
