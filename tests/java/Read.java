import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.Reader;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.StringJoiner;
import org.tensorflow.lite.support.metadata.MetadataExtractor;
import org.tensorflow.lite.support.metadata.schema.ContentProperties;
import org.tensorflow.lite.support.metadata.schema.ImageProperties;
import org.tensorflow.lite.support.metadata.schema.NormalizationOptions;
import org.tensorflow.lite.support.metadata.schema.ProcessUnit;
import org.tensorflow.lite.support.metadata.schema.ProcessUnitOptions;
import org.tensorflow.lite.support.metadata.schema.TensorMetadata;

/** Prints what Android's own reader finds in a .tflite file: one "key, tab, value" a line, numbers with commas. */
public final class Read {
    public static void main(String[] arguments) throws IOException {
        MetadataExtractor model = new MetadataExtractor(ByteBuffer.wrap(Files.readAllBytes(Path.of(arguments[0]))));
        print("satisfied", model.isMinimumParserVersionSatisfied());
        print("name", model.getModelMetadata().name());
        print("description", model.getModelMetadata().description());
        input(model, model.getInputTensorMetadata(0));
        output(model, model.getOutputTensorMetadata(0));
    }

    private static void input(MetadataExtractor model, TensorMetadata image) {
        print("input.shape", numbers(model.getInputTensorShape(0)));
        print("input.scale", model.getInputTensorQuantizationParams(0).getScale());
        print("input.zero_point", model.getInputTensorQuantizationParams(0).getZeroPoint());
        print("input.name", image.name());
        print("input.is_image", image.content().contentPropertiesType() == ContentProperties.ImageProperties);
        ImageProperties properties = (ImageProperties) image.content().contentProperties(new ImageProperties());
        print("input.color_space", properties.colorSpace());
        print("input.width", properties.defaultSize().width());
        print("input.height", properties.defaultSize().height());
        print("input.steps", image.processUnitsLength());
        ProcessUnit unit = image.processUnits(0);
        print("input.is_normalization", unit.optionsType() == ProcessUnitOptions.NormalizationOptions);
        NormalizationOptions normalization = (NormalizationOptions) unit.options(new NormalizationOptions());
        print("input.mean", numbers(normalization.meanAsByteBuffer()));
        print("input.std", numbers(normalization.stdAsByteBuffer()));
        print("input.min", numbers(image.stats().minAsByteBuffer()));
        print("input.max", numbers(image.stats().maxAsByteBuffer()));
    }

    private static void output(MetadataExtractor model, TensorMetadata classes) throws IOException {
        print("output.shape", numbers(model.getOutputTensorShape(0)));
        print("output.scale", model.getOutputTensorQuantizationParams(0).getScale());
        print("output.zero_point", model.getOutputTensorQuantizationParams(0).getZeroPoint());
        print("output.name", classes.name());
        print("output.files", classes.associatedFilesLength());
        for (int number = 0; number < classes.associatedFilesLength(); number++) {
            String file = classes.associatedFiles(number).name();
            print("output.file", file);
            // line by line: readAllBytes() of the reader's stream fails at 8192 bytes
            Reader content = new InputStreamReader(model.getAssociatedFile(file), StandardCharsets.UTF_8);
            new BufferedReader(content).lines().forEach(line -> print("label", line));
        }
        for (String file : model.getAssociatedFileNames()) {
            print("file", file);
        }
    }

    private static String numbers(int[] values) {
        StringJoiner text = new StringJoiner(",");
        Arrays.stream(values).forEach(value -> text.add(String.valueOf(value)));
        return text.toString();
    }

    private static String numbers(ByteBuffer values) {
        StringJoiner text = new StringJoiner(",");
        FloatBuffer floats = values.asFloatBuffer();
        while (floats.hasRemaining()) {
            text.add(String.valueOf(floats.get()));
        }
        return text.toString();
    }

    private static void print(String key, Object value) {
        System.out.println(key + "\t" + value);
    }
}
